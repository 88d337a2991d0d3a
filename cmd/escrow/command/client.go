package command

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/go-jose/go-jose/v4"

	"github.com/penname/penname/verifier/refusal"
	"github.com/penname/penname/verifier/token"
)

var (
	errServer = refusal.New(refusal.Unavailable, "server.unreachable",
		"the registrar did not answer, or not with what this program understands: check --server and try again")
	errInsecure = refusal.New(refusal.Invalid, "server.insecure",
		"--server must be an https address such as https://penname.example (http only for a sandbox on this machine)")
)

// maxAnswer bounds what is read of an answer: a package with 5,000 posts as
// evidence is some 20 MB.
const maxAnswer = 64 << 20

// problem is a refusal of the registrar, RFC 9457.
type problem struct {
	Code      string   `json:"code"`
	Title     string   `json:"title"`
	Status    int      `json:"status,omitempty"`
	Rules     []string `json:"rules,omitempty"`
	Culprits  []string `json:"culprits,omitempty"` // ids of the participants at fault
	Approvals *int     `json:"approvals,omitempty"`
	Quorum    *int     `json:"quorum,omitempty"`
	Cause     string   `json:"cause,omitempty"`    // of a failure on this machine
	Evidence  string   `json:"evidence,omitempty"` // file that proves it
}

func (p *problem) Error() string {
	s := p.Code + ": " + p.Title
	if p.Approvals != nil && p.Quorum != nil {
		s = fmt.Sprintf("%s: quorum not met: %d of %d. %s", p.Code, *p.Approvals, *p.Quorum, p.Title)
	}
	if len(p.Rules) > 0 {
		s += " (rule " + strings.Join(p.Rules, ", ") + ")"
	}
	if p.Cause != "" {
		s += " (" + p.Cause + ")"
	}
	if p.Evidence != "" {
		s += " Evidence: " + p.Evidence
	}
	return displayable(strings.ReplaceAll(s, "\n", " "))
}

// call sends one request. in is nil for GET; key, if not nil, signs the request
// as a custodian (DPoP, RFC 9449).
func (p *program) call(ctx context.Context, method, path string, key *jose.JSONWebKey, in, out any) error {
	if p.server == "" {
		return UsageError("--server is needed: the address of the registrar, for example https://penname.example")
	}
	base, err := url.Parse(p.server)
	if err != nil || base.Host == "" {
		return errInsecure
	}
	host := base.Hostname()
	if base.Scheme != "https" && !(base.Scheme == "http" && (host == "127.0.0.1" || host == "::1" || host == "localhost")) {
		return errInsecure
	}
	address := strings.TrimRight(p.server, "/") + path
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, address, body)
	if err != nil {
		return errServer.Because(err)
	}
	req.Header.Set("Accept", "application/json")
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if key != nil {
		proof, err := token.SignDPoP(*key, method, address, "", "", p.Now())
		if err != nil {
			return err
		}
		req.Header.Set("DPoP", proof)
	}
	res, err := p.HTTP.Do(req)
	if err != nil {
		return errServer.Because(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return errServer.Because(err)
	}
	if res.StatusCode >= 400 {
		said := &problem{}
		if json.Unmarshal(b, said) != nil || said.Code == "" {
			return errServer.Because(fmt.Errorf("status %d without a problem document", res.StatusCode))
		}
		return said
	}
	if res.StatusCode >= 300 {
		return errServer.Because(fmt.Errorf("status %d", res.StatusCode))
	}
	if err := json.Unmarshal(b, out); err != nil {
		return errServer.Because(err)
	}
	return nil
}
