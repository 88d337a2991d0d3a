package main

import (
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/penname/penname/escrow/sandbox/world"
	"github.com/penname/penname/policy"
)

// filedOrder signs and files an order about a post in evidence, after edit changed its draft, and
// puts it into a folder.
func filedOrder(t *testing.T, w *world.World, st *world.Case, folder, name, key string, edit func(draft map[string]any)) (id string) {
	t.Helper()
	class := "threats-to-life"
	draft := map[string]any{}
	if name == "libel" {
		class = "defamation"
	}
	file, err := w.Draft(name+".json", st.Post, st.Evidence, class, "An offence of this class", 120)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(raw, &draft)
	}
	if err != nil {
		t.Fatal(err)
	}
	edit(draft)
	if err := writeJSON(file, draft); err != nil {
		t.Fatal(err)
	}
	order := filepath.Join(folder, name+".jws")
	if said, code := w.Escrow(t.Context(), "warrant", "sign", file, "--key", w.Path(key), "--bundle", w.Path("bundle.json"), "--out", order); code != 0 {
		t.Fatal(name, said)
	}
	said, code := w.Escrow(t.Context(), "warrant", "file", order, "--evidence", st.Evidence, "--exhibits", st.Exhibits(), "--server", w.Origin)
	m := regexp.MustCompile(`case ([a-z2-7]{26})`).FindStringSubmatch(said)
	if code != 0 || m == nil {
		t.Fatal(name, said)
	}
	return m[1]
}

// TestDeskFollowsUp: a court validates a prosecutor's emergency, lets a hold last longer, lifts
// secrecy, rules on an objection, has a lost key replaced and takes an order back, each at its
// desk; what the rules refuse is refused there with their reason.
func TestDeskFollowsUp(t *testing.T) {
	w := startForTest(t)
	t.Setenv("TMPDIR", t.TempDir())
	folder, evidence := t.TempDir(), t.TempDir()
	st := evidenceOf(t, w, "Dexter Crallow", "I will come for you tonight.", "threat.jws")
	for _, file := range []string{st.Evidence, filepath.Join(st.Exhibits(), onlyFile(t, st.Exhibits()))} {
		content, err := os.ReadFile(file)
		if err == nil {
			err = os.WriteFile(filepath.Join(evidence, filepath.Base(file)), content, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	again := filedOrder(t, w, st, folder, "order", "court.jwk", func(map[string]any) {})
	taken := filedOrder(t, w, st, folder, "mistake", "court.jwk", func(map[string]any) {})
	emergency := filedOrder(t, w, st, folder, "emergency", "prosecutor.jwk", func(d map[string]any) {
		d["kind"], d["authority"], d["deadline"] = "emergency", "prosecutor", "eight_hours"
	})
	kept := filedOrder(t, w, st, folder, "keep", "court.jwk", func(d map[string]any) {
		d["kind"], d["fields"] = "preservation", []string{}
		delete(d["requester"].(map[string]any), "delivery_key")
	})
	libel := objectedOrder(t, w, folder)
	filedOrder(t, w, st, evidence, "planted", "court.jwk", func(map[string]any) {})

	d := openDesk(t, w, "clerk", "--key", w.Path("court.jwk"), "--bundle", w.Path("bundle.json"), "--cases", folder, "--evidence", evidence, "--requester", w.Path("requester.key"), "--server", w.Origin)
	d.enter()
	d.press("/", "/unlock", nil, "My cases")
	do := func(id, step string, fill map[string]string, shown, said string) {
		t.Helper()
		form := "/case/" + id + "/" + step
		d.press(form, form, fill, shown)
		d.press(form+"/sign", form+"/sign", nil, said)
	}
	if _, body := d.get("/cases"); !strings.Contains(body, `href="`+d.path("/case/"+libel+"/rule")+`"`) || strings.Contains(body, emergency) {
		t.Fatal(body)
	}

	// The emergency is another authority's: its order is chosen, and validated in time.
	page := "/case/" + emergency
	_, body := d.get(page)
	if !strings.Contains(body, "hours: the emergency is validated, or it lapses") || !strings.Contains(body, d.path(page+"/validate")) {
		t.Fatal(body)
	}
	_, body = d.get(page + "/validate")
	order := regexp.MustCompile(`order=([0-9a-f]{64})">TC 118 of \d+, emergency`).FindStringSubmatch(body)
	if order == nil || strings.Contains(body, "planted.jws") {
		t.Fatal("the order is not offered, or one that lies beside evidence is: ", body)
	}
	if body := d.press(page+"/validate?order="+order[1], page+"/validate", map[string]string{"text": "Danger to life."}, "Danger to life."); !strings.Contains(body, "validation") {
		t.Error(body)
	}
	d.press(page+"/validate/sign", page+"/validate/sign", nil, "Done: the emergency is validated")

	// A hold lasts longer, and not by more than the rules allow.
	page = "/case/" + kept
	d.press(page+"/extend", page+"/extend", map[string]string{"days": "45", "text": "The order is being written."}, "warrant.extension")
	do(kept, "extend", map[string]string{"days": "30", "text": "The order is being written."}, "extension", "days: the hold ends")

	// Secrecy is lifted.
	do(kept, "secrecy", map[string]string{"when": "now", "text": "The search is over."}, "The search is over.", "is signed, saved in")

	// An objection is dismissed: the words are read with the requester's key.
	page = "/case/" + libel
	_, body = d.get(page + "/rule")
	if !strings.Contains(body, "I have the analysis of the milk") {
		t.Fatal(body)
	}
	digest := aDigest.FindStringSubmatch(body)
	do(libel, "rule", map[string]string{"digest": digest[1], "outcome": "dismissed", "text": "The analysis is of another dairy."}, "      | It is true: I have the analysis of the milk.", "dismissed")
	if _, body := d.get(page); strings.Contains(body, d.path(page+"/rule")) {
		t.Error("it is to be ruled on again:", body)
	}

	// The requester's key is lost: the order is repeated for another, with its evidence.
	said, code := w.Escrow(t.Context(), "warrant", "keygen", filepath.Join(t.TempDir(), "new.key"))
	key := regexp.MustCompile(`pendk1\S+`).FindString(said)
	if code != 0 || key == "" {
		t.Fatal(said)
	}
	d.press("/case/"+again+"/redeliver", "/case/"+again+"/redeliver", map[string]string{"key": "pendk1.wrong", "text": "The disk broke."}, "pendk1.wrong")
	do(again, "redeliver", map[string]string{"key": key, "text": "The disk broke."}, "The disk broke.", "custodians decide again")

	// The other order is taken back, and stays where it was signed.
	d.press("/case/"+taken+"/withdraw", "/case/"+taken+"/withdraw", map[string]string{"text": "It was filed twice.", "order": hashIn(t, folder, "order.jws")}, "desk.other_case")
	do(taken, "withdraw", map[string]string{"text": "It was filed twice."}, "About: the only pen name, ", "withdrawn")

	annuls(t, w, folder, again)
	for _, name := range []string{"emergency-validation", "keep-extension", "keep-secrecy", "libel-ruling", "order-redelivery", "mistake-withdrawal", "order-annulment"} {
		if info, err := os.Stat(filepath.Join(folder, name+".jws")); err != nil || info.Mode() != 0o600 {
			t.Error(name, info, err)
		}
	}
	if said, code := w.Escrow(t.Context(), "log", "audit", "--bundle", w.Path("bundle.json"), "--server", w.Origin); code != 0 {
		t.Error(said)
	}
}

// hashIn is the hash of a signed file in a folder, as the registrar has it.
func hashIn(t *testing.T, folder, name string) string {
	t.Helper()
	return fmt.Sprintf("%x", policy.Hash(strings.TrimSpace(same(t, filepath.Join(folder, name)))))
}

// annuls has a court annul the order of a court below at its own desk, from the folder with all
// orders, of which it is offered those alone that the case can be of.
func annuls(t *testing.T, w *world.World, folder, id string) {
	t.Helper()
	above := openDesk(t, w, "clerk", "--key", w.Path("appeal.jwk"), "--bundle", w.Path("bundle.json"), "--cases", folder, "--server", w.Origin)
	above.enter()
	above.press("/", "/unlock", nil, "My cases")
	form := "/case/" + id + "/annul"
	if _, body := above.get("/case/" + id); !strings.Contains(body, above.path(form)) {
		t.Fatal(body)
	}
	if _, body := above.get(form); strings.Contains(body, hashIn(t, folder, "emergency-validation.jws")) || !strings.Contains(body, hashIn(t, folder, "order.jws")) {
		t.Error("what this case cannot be of is offered: ", body)
	}
	shown := above.press(form+"?order="+hashIn(t, folder, "order.jws"), form, map[string]string{"text": "The post is no threat."}, "This annulment will be signed and filed. It is about the case "+id)
	if !strings.Contains(shown, "of Thornley County Court") || !strings.Contains(shown, "About: the only pen name, ") {
		t.Error(shown)
	}
	above.press(form+"/sign", form+"/sign", nil, "stopped by a higher court")
}

// objectedOrder is an order of which the person is told first, and to which they objected.
func objectedOrder(t *testing.T, w *world.World, folder string) (id string) {
	t.Helper()
	who := "Bartholomew Okwuosa"
	if err := world.NewBrowser().Enrol(t.Context(), w.Origin, who); err != nil {
		t.Fatal(err)
	}
	milk := evidenceOf(t, w, who, "The baker waters his milk.", "milk.jws")
	id = filedOrder(t, w, milk, folder, "libel", "court.jwk", func(d map[string]any) {
		d["offence_id"], d["max_penalty_months"], d["secrecy"] = "defamation", 0, map[string]any{"ends": w.Clock.Now().UTC().Truncate(time.Second), "reason": ""}
	})
	if err := clockWord(&scene{World: w}, nil, []string{"0"}); err != nil {
		t.Fatal(err)
	}
	b := world.NewBrowser()
	err := b.Enrol(t.Context(), w.Origin, who)
	if err == nil {
		err = b.Follow(t.Context(), "/me/notice")
	}
	if err == nil {
		err = b.Press(t.Context(), "Check it, then send it", url.Values{"text": {"It is true: I have the analysis of the milk."}})
	}
	if err == nil {
		err = b.Press(t.Context(), "Send the objection", nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// evidenceOf is a case about a post that somebody makes, with its evidence.
func evidenceOf(t *testing.T, w *world.World, who, words, file string) *world.Case {
	t.Helper()
	st, by := &world.Case{World: w}, world.NewBrowser()
	err := by.Visit(t.Context(), w.Town, who)
	if err == nil {
		st.Post, err = by.Say(t.Context(), w.Town, words)
	}
	if err == nil {
		st.Evidence, err = w.SaveEvidence(file, st.Post)
	}
	if err != nil {
		t.Fatal(err)
	}
	return st
}

func onlyFile(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Fatal(entries, err)
	}
	return entries[0].Name()
}
