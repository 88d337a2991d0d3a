package translog

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/penname/penname/escrow/witness"
	"github.com/penname/penname/verifier/proof"
)

// WitnessClient says where a witness is.
type WitnessClient struct {
	URL  string       // submission prefix of C2SP tlog-witness: "https://witness.example"
	VKey string       // one of the log's witnesses
	HTTP *http.Client // nil: a client of its own, which follows no redirect
}

// maxAnswer bounds the answer of a witness in bytes: "one or more" lines.
const maxAnswer = 16 << 10

// cosigner asks one witness.
type cosigner struct {
	url      string
	verifier note.Verifier
	http     *http.Client
	size     atomic.Int64 // what it last told us that it has seen; a guess
}

func newCosigner(c WitnessClient, log *proof.Log) (*cosigner, error) {
	verifier, err := proof.NewCosignatureVerifier(c.VKey)
	if err != nil {
		return nil, ErrConfig.Because(err)
	}
	known := false
	for _, w := range log.Witnesses {
		known = known || w.VKey == c.VKey
	}
	if !known {
		return nil, ErrConfig.Because(errors.New("a witness is not in the trust policy"))
	}
	u, err := url.Parse(c.URL)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
		return nil, ErrConfig.Because(errors.New("the URL of a witness is not an http or https prefix"))
	}
	w := &cosigner{url: u.JoinPath("add-checkpoint").String(), verifier: verifier, http: c.HTTP}
	if w.http == nil {
		w.http = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	}
	return w, nil
}

// cosign returns the witness's verified signature line on the checkpoint. It
// starts at the size that the witness last named, or at from, and follows its
// answers a few times: another process may be publishing too.
func (w *cosigner) cosign(ctx context.Context, from int64, c torchwood.Checkpoint, signed []byte, p *Publisher, reader tlog.HashReader) ([]byte, error) {
	old := w.size.Load()
	if old == 0 {
		old = from
	}
	for range 4 {
		var path tlog.TreeProof
		if old = min(old, c.N); 0 < old && old < c.N {
			var err error
			if path, err = tlog.ProveTree(c.N, old, reader); err != nil {
				return nil, ErrStore.Because(err)
			}
		}
		status, answer, err := w.post(ctx, witness.FormatRequest(old, path, signed))
		if err != nil {
			return nil, err
		}
		switch status {
		case http.StatusOK:
			line, err := w.pick(answer, c, p.now())
			if err == nil {
				w.size.Store(c.N)
			}
			return line, err
		case http.StatusConflict:
			// C2SP tlog-witness: the body is the size of the latest cosigned
			// checkpoint. post has emptied any other body.
			size, err := strconv.ParseInt(strings.TrimSuffix(string(answer), "\n"), 10, 64)
			if err != nil || size < 0 || fmt.Sprintf("%d\n", size) != string(answer) {
				return nil, errors.New("witness answered 409 without a size")
			}
			if size > c.N {
				return nil, ErrRollback.Because(fmt.Errorf("witness %s names %d leaves, where there are %d", w.verifier.Name(), size, c.N))
			}
			if size < w.size.Load() {
				p.report(w, ErrForgot)
			}
			w.size.Store(size)
			old = size
		case http.StatusUnprocessableEntity:
			return nil, ErrFork.Because(fmt.Errorf("witness %s answers that this tree does not add to the one it cosigned", w.verifier.Name()))
		default:
			return nil, answered(status)
		}
	}
	return nil, errors.New("witness keeps naming other sizes")
}

// answered is what a status says that is neither a cosignature nor about a size.
func answered(status int) error {
	switch status {
	case http.StatusNotFound:
		return errors.New("witness answered 404: it does not know the log, or is not there")
	case http.StatusForbidden:
		return errors.New("witness answered 403: it knows the log by another key")
	}
	return fmt.Errorf("witness answered %d", status)
}

// knows asks the witness whether it knows the log that signer signs.
//
// C2SP tlog-witness: it looks for the origin (404) and the signature (403) before it
// finds that "the old size MUST be equal to or lower than the checkpoint size" (400).
func (w *cosigner) knows(ctx context.Context, origin string, signer note.Signer) error {
	root, err := tlog.TreeHash(0, nil)
	if err != nil {
		return ErrStore.Because(err)
	}
	empty := torchwood.Checkpoint{Origin: origin, Tree: tlog.Tree{Hash: root}}
	signed, err := note.Sign(&note.Note{Text: empty.String()}, signer)
	if err != nil {
		return ErrConfig.Because(err)
	}
	status, _, err := w.post(ctx, witness.FormatRequest(1, nil, signed))
	if err == nil && status != http.StatusBadRequest {
		err = answered(status)
	}
	if err != nil {
		return ErrWitness.Because(fmt.Errorf("%s: %w", w.url, err))
	}
	return nil
}

func (w *cosigner) post(ctx context.Context, body []byte) (status int, answer []byte, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.url, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	resp, err := w.http.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = resp.Body.Close() }() // read to the end or given up
	if answer, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1)); err != nil {
		return 0, nil, err
	}
	if len(answer) > maxAnswer {
		return 0, nil, errors.New("witness answered with too much")
	}
	if mediaType, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); resp.StatusCode == http.StatusConflict && mediaType != "text/x.tlog.size" {
		answer = nil // only this type carries a size; some witnesses say 409 for a fork
	}
	return resp.StatusCode, answer, nil
}

// pick returns the line of the answer that is this witness's cosignature on c.
// "The client MUST ignore any cosignatures from unknown keys", and to us every
// other key is unknown here.
func (w *cosigner) pick(answer []byte, c torchwood.Checkpoint, now time.Time) ([]byte, error) {
	n, err := note.Open(append([]byte(c.String()+"\n"), answer...), note.VerifierList(w.verifier))
	if err != nil || n.Text != c.String() || len(n.Sigs) != 1 {
		return nil, errors.New("witness answered without its cosignature on this checkpoint")
	}
	s := n.Sigs[0]
	if _, err := base64.StdEncoding.Strict().DecodeString(s.Base64); err != nil {
		return nil, errors.New("witness answered with a signature that is not canonical")
	}
	t, err := torchwood.CosignatureTimestamp(s)
	if at := time.Unix(t, 0); err != nil || at.Before(now.Add(-proof.MaxSkew)) || at.After(now.Add(proof.MaxSkew)) {
		return nil, errors.New("witness's clock differs from ours: its cosignature has another time")
	}
	return fmt.Appendf(nil, "— %s %s\n", s.Name, s.Base64), nil
}
