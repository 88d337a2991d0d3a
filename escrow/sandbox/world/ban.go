package world

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/penname/penname/verifier/token"
)

// Report tells Penname that the platform bans a pen name, or no longer does: state is
// "banned" or "lifted". While it is banned its person gets no other one in its place.
func (p *Platform) Report(ctx context.Context, name token.Pseudonym, state string) error {
	form := url.Values{"sub": {string(name)}, "state": {state}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.Issuer+"/bans", strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth(p.oauth.ClientID, p.oauth.ClientSecret)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusNoContent {
		return fmt.Errorf("the report was answered %s", res.Status)
	}
	return nil
}
