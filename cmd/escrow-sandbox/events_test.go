package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/penname/penname/verifier/token"
)

// streams are how the platforms of a script are told of events.
type streams struct {
	pushed chan token.Event
	secret string // of School Forum, which polls
}

// eventsWord is
//
//	events listen         has an address of Town Square take events, as PUSH
//	events secret SECRET  by which School Forum asks
//	events pass HOURS     lets time go by, in which platforms are told
//	events PLATFORM TYPE… the next events that it is told of, in any order; nothing: there is none
//	events silent PERSON  whether Town Square can sign them in without asking
func eventsWord(s *scene, ts *testscript.TestScript, args []string) error {
	ctx := context.Background()
	switch args[0] {
	case "listen":
		return s.listen(ts)
	case "secret":
		s.streams.secret = args[1]
		return nil
	case "pass":
		hours, err := time.ParseDuration(args[1] + "h")
		for end := s.Clock.Now().Add(hours); err == nil && s.Clock.Now().Before(end); {
			s.Clock.Advance(5 * time.Minute)
			err = s.Service.TellPlatforms(ctx)
		}
		return err
	case "silent":
		return s.silent(ctx, args[1])
	}
	if err := s.Service.TellPlatforms(ctx); err != nil {
		return err
	}
	next := s.polled
	if args[0] == s.Town.ID {
		next = s.pushed
	}
	wanted := slices.DeleteFunc(slices.Clone(args[1:]), func(kind string) bool { return kind == "nothing" })
	for range max(1, len(wanted)) {
		e, err := next(len(wanted) > 0)
		if err != nil {
			return err
		}
		kind := path.Base(e.Type)
		i := slices.Index(wanted, kind)
		switch {
		case e.Type == "":
			return nil
		case i < 0:
			return fmt.Errorf("told of %s", kind)
		}
		wanted = slices.Delete(wanted, i, i+1)
		fmt.Fprintln(ts.Stdout(), args[0], e.Subject, kind)
	}
	return nil
}

// eventsOf reads events of a platform.
func (s *scene) eventsOf(platform, keys string) (*token.Verifier, error) {
	set, err := token.ParseKeySet([]byte(keys))
	return &token.Verifier{Issuer: s.Origin, Audience: platform, Keys: token.StaticKeys(set), Now: s.Clock.Now, Leeway: time.Minute}, err
}

func (s *scene) listen(ts *testscript.TestScript) error {
	v, err := s.eventsOf(s.Town.ID, string(s.Town.IssuerKeys))
	if err != nil {
		return err
	}
	s.streams.pushed = make(chan token.Event, 16)
	server := httptest.NewServer(v.EventHandler(func(r *http.Request) bool { return r.Header.Get("Authorization") == "Bearer the-token-of-town-square" },
		func(_ context.Context, e token.Event) error { s.streams.pushed <- e; return nil }))
	ts.Defer(server.Close)
	ts.Setenv("PUSH", server.URL+"/events")
	return nil
}

// pushed is the next event at Town Square. The service's own job may be sending it.
func (s *scene) pushed(wanted bool) (e token.Event, err error) {
	if !wanted {
		select {
		case e = <-s.streams.pushed:
		default:
		}
		return e, nil
	}
	select {
	case e = <-s.streams.pushed:
		return e, nil
	case <-time.After(20 * time.Second):
		return e, errors.New("told of nothing")
	}
}

// polled is the next event at School Forum, which acknowledges it.
func (s *scene) polled(wanted bool) (e token.Event, err error) {
	v, err := s.eventsOf(s.School.ID, string(s.School.IssuerKeys))
	if err != nil {
		return e, err
	}
	one, ack := 1, []string{}
	for {
		sets, err := s.poll(map[string]any{"maxEvents": one, "returnImmediately": true, "ack": ack})
		if err != nil || len(ack) > 0 {
			return e, err
		}
		for jti, raw := range sets {
			got, err := v.VerifyEvent(context.Background(), raw)
			if err != nil {
				return e, err
			}
			e, one, ack = *got, 0, []string{jti}
		}
		if len(sets) == 0 {
			if wanted {
				err = errors.New("told of nothing")
			}
			return e, err
		}
	}
}

func (s *scene) poll(body map[string]any) (map[string]string, error) {
	raw, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequest(http.MethodPost, s.Origin+"/events", bytes.NewReader(raw))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/json")
	r.SetBasicAuth(s.School.ID, s.streams.secret)
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	var got struct{ Sets map[string]string }
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%d %s", resp.StatusCode, answer)
	}
	if err == nil {
		err = json.Unmarshal(answer, &got)
	}
	return got.Sets, err
}

// silent asks for a sign-in without a page, from a person's browser.
func (s *scene) silent(ctx context.Context, who string) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.Origin+"/authorize?"+url.Values{
		"client_id": {s.Town.ID}, "redirect_uri": {s.Town.Origin + "/callback"}, "response_type": {"code"}, "scope": {strings.Join(append([]string{"openid", "offline_access", "profile"}, s.Town.Claims...), " ")}, "nonce": {"n"},
		"code_challenge": {strings.Repeat("c", 43)}, "code_challenge_method": {"S256"}, "prompt": {"none"}}.Encode(), nil)
	if err != nil {
		return err
	}
	r.Header.Set("Sec-Fetch-Dest", "document")
	r.Header.Set("Sec-Fetch-Mode", "navigate")
	b := s.people[who]
	if err := b.Do(r); err != nil {
		return err
	}
	if refused := b.Page.URL.Query().Get("error"); refused != "" {
		return errors.New(refused)
	}
	return nil
}
