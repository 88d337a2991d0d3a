package web

import (
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// L2: a page that tells a person to write to the operator says where.
func TestFoundL2PagesSayWhomToAsk(t *testing.T) {
	for setting, want := range map[string]string{
		"mailto:help@penname.example": `<a href="mailto:help@penname.example">help@penname.example</a>`,
		"https://penname.example/ask": `<a href="https://penname.example/ask">https://penname.example/ask</a>`,
		"Room 5 <b>of</b> Town Hall":  `Room 5 &lt;b&gt;of&lt;/b&gt; Town Hall`,
		"":                            "",
	} {
		contact, err := ParseContact(setting)
		if err != nil {
			t.Fatal(setting, err)
		}
		s, err := New(Config{Origin: "https://penname.example", Log: slog.New(slog.DiscardHandler), Now: time.Now, Contact: contact})
		if err != nil {
			t.Fatal(err)
		}
		w := httptest.NewRecorder()
		s.ShowRefusal(w, httptest.NewRequest("POST", "/me", nil), errInternal)
		if body := w.Body.String(); !strings.Contains(body, want) || strings.Contains(body, "You reach the operator") != (want != "") {
			t.Errorf("%q: %s", setting, body)
		}
	}
	for _, bad := range []string{"mailto:", "mailto:help", "http://penname.example", "https:", "two\nlines", strings.Repeat("x", 201)} {
		if _, err := ParseContact(bad); !ErrContact.Is(err) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if c, err := ParseContact("javascript:alert(1)"); err != nil || c.Link != "" {
		t.Errorf("a link: %+v %v", c, err)
	}
}
