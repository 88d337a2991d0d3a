// Package witness is a cosigning witness with its state: whoever runs one on
// their own machine keeps the operator of a log from showing two histories.
//
//	Witness       cosigns what only adds to what it has seen, and shows it: C2SP tlog-witness
//	Files         what it has seen, in a directory that survives a power cut
//	Serve         the HTTP server around it
//	FormatRequest the other side: what a log sends
//
// Whoever trusts a log checks the cosignatures with package proof, under a quorum of
// witnesses that they trust.
package witness

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/penname/penname/verifier/proof"
	"github.com/penname/penname/verifier/refusal"
)

// The refusals of a witness, beside those of package proof. None repeats what was
// refused.
var (
	ErrState      = refusal.New(refusal.Unavailable, "witness.state", "The witness's state cannot be read or written safely: it signs nothing until an operator has looked at it.")
	ErrChanged    = refusal.New(refusal.Conflict, "witness.state_changed", "The witness has seen another size of the log than the request assumes: start from the size that it names.")
	ErrUnknownLog = refusal.New(refusal.NotFound, "witness.unknown_log", "This witness does not follow that log: send the checkpoint of the log that it was set up for.")
	ErrRequest    = refusal.New(refusal.Invalid, "witness.bad_request", "This is not an add-checkpoint request in the form of C2SP tlog-witness.")
)

// maxRequest bounds an add-checkpoint request in bytes: 63 proof lines and a
// checkpoint fit.
const maxRequest = proof.MaxCheckpoint + 8<<10

// Store keeps what one witness has seen of one log. It is safe for
// concurrent use.
//
//   - Load returns the newest checkpoint that was cosigned, as the log signed
//     it, or nil if there was none yet.
//   - Swap durably replaces old by new in one atomic step, or is
//     [ErrChanged] and changes nothing if old is not what is stored. When it
//     returns nil, new survives a crash.
//   - Keep durably stores evidence of misbehaviour. It is not an error
//     to keep the same evidence again.
type Store interface {
	Load(ctx context.Context) ([]byte, error)
	Swap(ctx context.Context, old, new []byte) error
	Keep(ctx context.Context, e Evidence) error
}

// Evidence is two checkpoints of one size and different roots, both signed by
// the log: see [proof.VerifySplitView].
type Evidence struct {
	First  string `json:"first"`
	Second string `json:"second"`
}

// Marshal returns e as JSON.
func (e Evidence) Marshal() []byte {
	b, err := json.MarshalIndent(e, "", "  ")
	if err != nil {
		panic(err) // two strings
	}
	return append(b, '\n')
}

// Witness cosigns the checkpoints of one log if each only adds to the one
// before it. It implements C2SP tlog-witness as an [http.Handler] for POST
// /add-checkpoint, and for monitors GET /<SHA-256 of the origin, hex>/checkpoint.
//
// Trusted for: never cosigning two histories. Whoever controls a witness can
// cosign a fork, or refuse to cosign. Package proof says how many such witnesses
// it takes to hide a fork.
type Witness struct {
	// Alarm, if not nil, is told of what an operator must look at:
	// [proof.ErrSplitView] and [ErrState]. Set it before the first request.
	Alarm func(error)

	origin, logVKey string
	monitored       string // path of the newest checkpoint: "The origin hash is the SHA-256 hash of the log's origin, hex encoded, in lowercase"
	signer          *torchwood.CosignatureSigner
	key             ed25519.PrivateKey
	store           Store
	now             func() time.Time

	last atomic.Pointer[answered]
}

// answered is the newest cosignature that was returned, and the checkpoint that it is on.
type answered struct {
	checkpoint string
	line       []byte
}

// New returns a witness with the given name for the log with that
// origin and key. It is [proof.ErrPolicy] if name, origin or keys cannot be told
// apart, and [ErrState] if the stored state is not a checkpoint of this log:
// a witness that forgot what it saw must not sign.
func New(ctx context.Context, name string, key ed25519.PrivateKey, origin, logVKey string, store Store, now func() time.Time) (*Witness, error) {
	if len(key) != ed25519.PrivateKeySize {
		return nil, proof.ErrPolicy.Because(errors.New("witness key is not Ed25519"))
	}
	signer, err := torchwood.NewCosignatureSigner(name, key)
	if err != nil {
		return nil, proof.ErrPolicy.Because(err)
	}
	// The trust policy of one witness refuses what no policy can accept:
	// a witness with the name or the key of the log.
	if _, err := proof.NewLog(origin, logVKey, []proof.WitnessKey{{Name: name, Operator: name, VKey: signer.Verifier().String()}}, 1); err != nil {
		return nil, err
	}
	sum := sha256.Sum256([]byte(origin))
	w := &Witness{origin: origin, monitored: "/" + hex.EncodeToString(sum[:]) + "/checkpoint", logVKey: logVKey, signer: signer, key: key, store: store, now: now}
	if _, _, err := w.load(ctx); err != nil {
		return nil, err
	}
	return w, nil
}

// VKey returns the verifier key for the log's trust policy (C2SP signed-note,
// type 0x04).
func (w *Witness) VKey() string { return w.signer.Verifier().String() }

// Seen returns the newest tree that the witness has cosigned; its size is 0 if there is none.
func (w *Witness) Seen(ctx context.Context) (tlog.Tree, error) {
	_, c, err := w.load(ctx)
	return c.Tree, err
}

func (w *Witness) load(ctx context.Context) ([]byte, torchwood.Checkpoint, error) {
	stored, err := w.store.Load(ctx)
	if err != nil {
		return nil, torchwood.Checkpoint{}, ErrState.Because(err)
	}
	if stored == nil {
		empty, err := tlog.TreeHash(0, nil)
		return nil, torchwood.Checkpoint{Origin: w.origin, Tree: tlog.Tree{Hash: empty}}, err
	}
	c, err := proof.OpenUncosigned(w.origin, w.logVKey, stored)
	if err != nil {
		return nil, torchwood.Checkpoint{}, ErrState.Because(err)
	}
	return stored, c, nil
}

// conflictError is the 409 of tlog-witness: it carries the size we know.
type conflictError struct{ size int64 }

func (e *conflictError) Error() string { return "the witness knows another size" }

// AddCheckpoint handles the body of an add-checkpoint request and returns the
// cosignature line. The refusals are [ErrRequest], [ErrUnknownLog],
// [proof.ErrSignature] and [proof.ErrLog] (the log did not sign), [proof.ErrBadProof],
// [proof.ErrSplitView] (evidence was kept), [ErrChanged] (old is not the size that
// we know) and [ErrState].
func (w *Witness) AddCheckpoint(ctx context.Context, body []byte) ([]byte, error) {
	old, path, signed, err := parseRequest(body)
	if err != nil {
		return nil, err
	}
	origin, _, _ := strings.Cut(string(signed), "\n")
	if origin != w.origin {
		// "If the checkpoint origin is unknown, the witness MUST respond with
		// a 404 Not Found"
		return nil, ErrUnknownLog
	}
	// "it MUST ignore signatures from unknown keys": ours is one of them, a
	// line that claims to be our own cosignature changes nothing.
	c, err := proof.OpenUncosigned(w.origin, w.logVKey, signed)
	if errors.Is(err, proof.ErrMalformed) {
		return nil, ErrRequest.Because(err)
	} else if err != nil {
		return nil, err
	}
	// "The old size MUST be equal to or lower than the checkpoint size."
	if old > c.N {
		return nil, ErrRequest
	}
	stored, known, err := w.load(ctx)
	if err != nil {
		return nil, err
	}
	if stored != nil && c.N == known.N && c.Hash != known.Hash {
		// "the witness MAY log the request [...] as it might be proof of log
		// misbehavior": two roots at one size are, whatever old says.
		if err := w.store.Keep(ctx, Evidence{First: string(stored), Second: string(signed)}); err != nil {
			return nil, ErrState.Because(err)
		}
		return nil, proof.ErrSplitView
	}
	// "The witness MUST check that the old size matches the size of the latest
	// checkpoint it cosigned"
	if old != known.N {
		return nil, ErrChanged.Because(&conflictError{known.N})
	}
	if err := checkAdds(known, c, path); err != nil {
		return nil, err
	}
	return w.persistAndSign(ctx, stored, known, c, signed)
}

// checkAdds is [proof.Consistency] with the special cases of tlog-witness.
func checkAdds(known, c torchwood.Checkpoint, path tlog.TreeProof) error {
	empty, err := tlog.TreeHash(0, nil)
	if err != nil {
		return err
	}
	if c.N == 0 && c.Hash != empty {
		return proof.ErrBadProof
	}
	// "The proof MUST be empty if the old size is zero."
	return proof.Consistency(known, c, path)
}

// persistAndSign stores first: "The witness MUST persist the new checkpoint
// before responding." The swap makes check and update one step, so that of two
// racing requests one is told of the conflict.
func (w *Witness) persistAndSign(ctx context.Context, stored []byte, known, c torchwood.Checkpoint, signed []byte) ([]byte, error) {
	if stored == nil || c.Tree != known.Tree {
		err := w.store.Swap(ctx, stored, signed)
		if errors.Is(err, ErrChanged) {
			_, known, err := w.load(ctx)
			if err != nil {
				return nil, err
			}
			return nil, ErrChanged.Because(&conflictError{known.N})
		} else if err != nil {
			return nil, ErrState.Because(err)
		}
	}
	return w.cosign(c)
}

// cosign signs as torchwood's CosignatureSigner does, but with the time of
// our clock, which is an argument: C2SP tlog-cosignature, "Ed25519 signed
// message".
func (w *Witness) cosign(c torchwood.Checkpoint) ([]byte, error) {
	t := w.now().Unix()
	if t <= 0 {
		return nil, ErrState.Because(errors.New("the clock is before 1970"))
	}
	sig := binary.BigEndian.AppendUint32(nil, w.signer.KeyHash())
	sig = binary.BigEndian.AppendUint64(sig, uint64(t))
	sig = append(sig, ed25519.Sign(w.key, fmt.Appendf(nil, "cosignature/v1\ntime %d\n%s", t, c))...)
	line := fmt.Appendf(nil, "— %s %s\n", w.signer.Name(), base64.StdEncoding.EncodeToString(sig))
	w.last.Store(&answered{c.String(), line})
	return line, nil
}

// Checkpoint returns the newest checkpoint that the witness has cosigned, for monitors: "it
// MUST include the cosignature(s) from the witness's key(s) that were returned from
// add-checkpoint and the cosignature from the log key(s) that the witness verified", and holds
// nothing else. After a restart it is cosigned again. It is nil if there is none, and [ErrState].
func (w *Witness) Checkpoint(ctx context.Context) ([]byte, error) {
	stored, c, err := w.load(ctx)
	if err != nil || stored == nil {
		return nil, err
	}
	key, err := note.NewVerifier(w.logVKey)
	if err != nil {
		return nil, ErrState.Because(err)
	}
	n, err := note.Open(stored, note.VerifierList(key))
	if err != nil {
		return nil, ErrState.Because(err)
	}
	last := w.last.Load()
	if last == nil || last.checkpoint != c.String() {
		line, err := w.cosign(c)
		if err != nil {
			return nil, err
		}
		last = &answered{c.String(), line}
	}
	return append(fmt.Appendf(nil, "%s\n— %s %s\n", n.Text, n.Sigs[0].Name, n.Sigs[0].Base64), last.line...), nil
}

// serveCheckpoint is the monitor retrieval of tlog-witness.
func (w *Witness) serveCheckpoint(rw http.ResponseWriter, r *http.Request) {
	b, err := w.Checkpoint(r.Context())
	switch {
	case err != nil:
		if w.Alarm != nil {
			w.Alarm(err)
		}
		refuseRequest(rw, err)
	case b == nil: // "never cosigned a checkpoint for that log"
		http.NotFound(rw, r)
	default:
		rw.Header().Set("Content-Type", "text/plain; charset=utf-8")
		rw.Header().Set("Cache-Control", "public, max-age=5")
		_, _ = rw.Write(b) // a client that went away
	}
}

// FormatRequest returns the body of an add-checkpoint request: what
// [Witness.AddCheckpoint] parses.
func FormatRequest(old int64, path tlog.TreeProof, signed []byte) []byte {
	b := fmt.Appendf(nil, "old %d\n", old)
	for _, h := range path {
		b = fmt.Appendf(b, "%s\n", h)
	}
	return append(append(b, '\n'), signed...)
}

func parseRequest(body []byte) (old int64, path tlog.TreeProof, signed []byte, err error) {
	head, signed, ok := bytes.Cut(body, []byte("\n\n"))
	if !ok || len(body) > maxRequest {
		return 0, nil, nil, ErrRequest
	}
	lines := strings.Split(string(head), "\n")
	// "The client MUST NOT send more than 63 consistency proof lines."
	if len(lines) > 1+63 {
		return 0, nil, nil, ErrRequest
	}
	number, _ := strings.CutPrefix(lines[0], "old ")
	if old, err = strconv.ParseInt(number, 10, 64); err != nil {
		return 0, nil, nil, ErrRequest
	}
	for _, line := range lines[1:] {
		h, err := tlog.ParseHash(line)
		if err != nil {
			return 0, nil, nil, ErrRequest
		}
		path = append(path, h)
	}
	// One form only: this settles "no leading zeroes", signs, a missing "old"
	// and second spellings of a hash.
	if !bytes.Equal(FormatRequest(old, path, signed), body) || old < 0 {
		return 0, nil, nil, ErrRequest
	}
	return old, path, signed, nil
}

// ServeHTTP implements C2SP tlog-witness: add-checkpoint, and for monitors the newest
// checkpoint. The bodies of its refusals are constants, except for the size in a 409.
func (w *Witness) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodGet && r.URL.Path == w.monitored {
		w.serveCheckpoint(rw, r)
		return
	}
	if r.URL.Path != "/add-checkpoint" {
		http.NotFound(rw, r)
		return
	}
	if r.Method != http.MethodPost {
		rw.Header().Set("Allow", http.MethodPost)
		http.Error(rw, "add-checkpoint is a POST", http.StatusMethodNotAllowed)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(rw, r.Body, maxRequest))
	if err != nil {
		http.Error(rw, "the request is larger than any add-checkpoint request", http.StatusRequestEntityTooLarge)
		return
	}
	cosignature, err := w.AddCheckpoint(r.Context(), body)
	if err != nil {
		if w.Alarm != nil && (errors.Is(err, proof.ErrSplitView) || errors.Is(err, ErrState)) {
			w.Alarm(err)
		}
		refuseRequest(rw, err)
		return
	}
	rw.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = rw.Write(cosignature) // the client sees a lost answer by itself, and asks again
}

func refuseRequest(rw http.ResponseWriter, err error) {
	var conflict *conflictError
	if errors.As(err, &conflict) {
		rw.Header().Set("Content-Type", "text/x.tlog.size")
		rw.WriteHeader(http.StatusConflict)
		_, _ = fmt.Fprintf(rw, "%d\n", conflict.size)
		return
	}
	status := http.StatusServiceUnavailable
	for _, s := range []struct {
		err    *refusal.Error
		status int
	}{
		{ErrRequest, http.StatusBadRequest}, {ErrUnknownLog, http.StatusNotFound},
		{proof.ErrSignature, http.StatusForbidden}, {proof.ErrLog, http.StatusForbidden},
		{proof.ErrBadProof, http.StatusUnprocessableEntity}, {proof.ErrSplitView, http.StatusUnprocessableEntity},
	} {
		if errors.Is(err, s.err) {
			status = s.status
		}
	}
	text := ErrState.Error()
	if e := refusal.Of(err); e != nil {
		text = e.Error()
	}
	http.Error(rw, text, status)
}
