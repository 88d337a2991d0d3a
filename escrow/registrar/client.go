package registrar

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/refusal"
	"github.com/penname/penname/verifier/token"
)

// Why a call did not reach the registrar.
var (
	ErrUnreachable = refusal.New(refusal.Unavailable, "server.unreachable",
		"the registrar did not answer, or not with what this program understands: check --server and try again")
	ErrInsecure = refusal.New(refusal.Invalid, "server.insecure",
		"--server must be an https address such as https://penname.example (http only for a sandbox on this machine)")
)

// maxAnswer bounds what is read of an answer: a package with 5,000 posts as
// evidence is some 20 MB.
const maxAnswer = 64 << 20

// Client asks a registrar. All fields are required.
type Client struct {
	Server string // origin of the registrar, "https://penname.example"
	HTTP   *http.Client
	Now    func() time.Time
}

// Call sends one request. in is nil for GET; key, if not nil, signs the request
// as a custodian (DPoP, RFC 9449). A refusal of the registrar is a [*Problem];
// no answer, or one that is not understood, is [ErrUnreachable].
func (c *Client) Call(ctx context.Context, method, path string, key *jose.JSONWebKey, in, out any) error {
	base, err := url.Parse(c.Server)
	if err != nil || !document.Secure(base, document.Localhost) {
		return ErrInsecure
	}
	address := strings.TrimRight(c.Server, "/") + path
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
		return ErrUnreachable.Because(err)
	}
	req.Header.Set("Accept", "application/json")
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if key != nil {
		proof, err := token.SignDPoP(*key, method, address, "", "", c.Now())
		if err != nil {
			return err
		}
		req.Header.Set("DPoP", proof)
	}
	res, err := c.HTTP.Do(req)
	if err != nil {
		return ErrUnreachable.Because(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return ErrUnreachable.Because(err)
	}
	if res.StatusCode >= 400 {
		said := &Problem{}
		if json.Unmarshal(b, said) != nil || said.Code == "" {
			return ErrUnreachable.Because(fmt.Errorf("status %d without a problem document", res.StatusCode))
		}
		return said
	}
	if res.StatusCode >= 300 {
		return ErrUnreachable.Because(fmt.Errorf("status %d", res.StatusCode))
	}
	if err := json.Unmarshal(b, out); err != nil {
		return ErrUnreachable.Because(err)
	}
	return nil
}
