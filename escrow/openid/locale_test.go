package openid_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/penname/penname/escrow/openid"
)

// TestLocaleIsOneOfOurs: of ui_locales counts the first in which there are pages, in a request
// and in a pushed one, as long as the sign-in lasts; nothing else of it is kept.
func TestLocaleIsOneOfOurs(t *testing.T) {
	r := newRig(t, func(r *rig) { r.cfg.Locales = []string{"en", "cy"} })
	for wish, want := range map[string]string{"": "", "cy": "cy", "fr cy en": "cy", "CY-GB": "cy", "cymraeg": "", "fr": "", "en-GB cy": "en", strings.Repeat("x ", 500) + "cy": "cy"} {
		params := r.request(r.square, "ui_locales", wish)
		pushed := r.post("/par", form(params, "client_secret", secret)).json(t)["request_uri"].(string)
		for how, params := range map[string]url.Values{"asked": params, "pushed": {"client_id": {r.square.ID}, "request_uri": {pushed}}} {
			r.lastAsk = openid.SignInRequest{}
			action := r.open(params)
			if r.lastAsk.Locale != want {
				t.Errorf("%s %.20q: %q", how, wish, r.lastAsk.Locale)
			}
			r.lastAsk = openid.SignInRequest{}
			if r.get(action); r.lastAsk.Locale != want {
				t.Errorf("%s %.20q, later: %q", how, wish, r.lastAsk.Locale)
			}
		}
	}
}
