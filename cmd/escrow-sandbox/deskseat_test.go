package main

import (
	"encoding/json"
	"fmt"
	"html"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/penname/penname/escrow/sandbox/world"
	"github.com/penname/penname/escrow/web/pagetest"
	"github.com/penname/penname/policy"
)

// withAlternate makes the folder of Aldo, and has rules name him as the alternate of Alba.
func withAlternate(t *testing.T, w *world.World) {
	t.Helper()
	home := w.Path("custodians", "aldo")
	if err := os.WriteFile(world.PassphraseFile(home), []byte("aldo keeps this to himself"), 0o600); err != nil {
		t.Fatal(err)
	}
	said, code := w.Escrow(t.Context(), w.AsCustodian("aldo", "init", "--id", "aldo", "--name", "Aldo Moretti", "--organisation", "Bar Association", "--server", w.Origin, "--work-factor", "8")...)
	var card policy.Seat
	if err := json.Unmarshal([]byte(said), &card); err != nil || code != 0 {
		t.Fatal(said, err)
	}
	newRules(t, w, func(b *policy.Bundle) {
		alba := b.Custodian("alba")
		alba.Alternates = append(alba.Alternates, policy.Alternate{ID: card.ID, Name: card.Name, Organisation: card.Organisation, Key: card.Key, Recipient: card.Recipient, OrganisationID: alba.OrganisationID})
	})
	if err := w.Service.ServeCases(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := w.Service.FollowRules(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// save gets a file that the desk made.
func (d *deskAt) save(path, name string) string {
	d.t.Helper()
	res, body := d.ask(http.MethodGet, path, "", nil)
	if got := res.Header.Get("Content-Disposition"); res.StatusCode != http.StatusOK || got != "attachment; filename="+name || res.Header.Get("Content-Type") != "application/octet-stream" {
		d.t.Fatal(res.Status, got, body)
	}
	return body
}

// shows is a page of the desk, which has to show all of want.
func (d *deskAt) shows(path string, want ...string) string {
	d.t.Helper()
	_, body := d.get(path)
	body = html.UnescapeString(body)
	for _, one := range want {
		if !strings.Contains(body, one) {
			d.t.Fatalf("%s does not show %q: %.4000s", path, one, body[max(0, strings.Index(body, "<main")):])
		}
	}
	return body
}

// TestDeskOfASeat: at her desk Alba announces that she is away and hands her share over; at his,
// Aldo takes it, reads what she encrypted again for him, and answers for her. Each is shown first.
func TestDeskOfASeat(t *testing.T) {
	w := startForTest(t)
	t.Setenv("TMPDIR", t.TempDir())
	st := filedCase(t, w)
	a := startDesk(t, w, "alba")
	a.enter()
	a.unlock(w, "alba", st.ID)
	a.shows("/seat", "The rules in force name no alternate of yours.", "You have announced no absence")
	withAlternate(t, w)

	// Aldo's folder has seen no rules, and holds nothing yet.
	b := startDesk(t, w, "aldo")
	b.enter()
	b.unlock(w, "aldo", "This folder has seen no rules yet")
	b.shows("/seat", "custodian.no_rules", "Take the share")

	// Days that are none are said at their fields, and stay; then the words are shown that are signed.
	day := func(n int) string { return w.Clock.Now().UTC().AddDate(0, 0, n).Format(time.DateOnly) }
	again := a.press("/seat", "/seat/away", map[string]string{"from": day(-3), "until": day(14)}, "custodian.away_before")
	if !strings.Contains(again, `value="`+day(-3)+`"`) || !strings.Contains(again, `id="from-wrong"`) {
		t.Error(again)
	}
	a.press("/seat", "/seat/away", map[string]string{"from": day(0), "until": day(14)}, "You are away from "+day(0)+", and back on "+day(14))
	a.shows("/seat/away", "aldo may answer for you")
	if said, _ := w.Escrow(t.Context(), w.AsCustodian("alba", "away")...); !strings.Contains(said, "no absence") {
		t.Error("announced before it was signed: ", said)
	}
	a.press("/seat/away", "/seat/away/sign", nil, "announced: away from "+day(0))
	if said, _ := w.Escrow(t.Context(), w.AsCustodian("alba", "away")...); strings.Count(said, "alba is away from "+day(0)) != 1 {
		t.Error(said)
	}
	a.shows("/seat", "alba is away from "+day(0)+" until "+day(14))
	a.press("/seat", "/seat/away", map[string]string{"from": day(10), "until": day(20)}, "You have announced days of these already: away from "+day(0)+", back on "+day(14))
	if body := a.shows("/seat/away", "at your seat"); strings.Contains(body, "escrow custodian") {
		t.Error("a command is named: ", body)
	}
	a.press("/", "/seat/leave", nil, "You announced, and it is not over")
	a.shows("/", "Beside the cases", "You are away until "+day(14), "Go to your seat")

	// Her share is for Aldo alone.
	a.press("/seat", "/seat/deputise", map[string]string{"alternate": "aldo"}, "encrypted to aldo: Aldo Moretti, Bar Association")
	a.press("/seat/deputise", "/seat/deputise/sign", nil, "Made, for aldo alone.")
	share := write(t, "aldo.share", a.save("/seat/deputise/file", "aldo.share"), 0o600)
	rules := w.Path("bundle.json")
	if said, code := w.Escrow(t.Context(), w.AsCustodian("bruno", "receive", share)...); code != 1 || !strings.Contains(said, "custodian.no_principal") {
		t.Error(code, said)
	}
	b.uploads("/seat", "/seat/receive", map[string]string{"share": rules, "bundle": rules}, "This folder has seen no rules yet, and begins with these")
	if body := b.press("/seat/receive", "/seat/receive/sign", nil, "custodian.bad_handover"); !strings.Contains(body, "the folder has begun with the rules that you agreed to") || strings.Contains(body, "nothing was kept;") || strings.Contains(body, "escrow custodian") && !strings.Contains(body, "What stays with the commands") {
		t.Error("what was kept is not said as it is: ", body)
	}
	a.uploads("/seat", "/seat/receive", map[string]string{"share": share}, "custodian.no_principal")
	b.shows("/", "You step in for alba, and your folder has no share of the key in force")
	b.uploads("/seat", "/seat/receive", map[string]string{"share": share}, "kept: the share of alba")
	if body := b.shows("/", st.ID); strings.Contains(body, "has no share") {
		t.Error(body)
	}
	if body := b.shows("/seat", "You step in for", "Alba Ferrand", "alba is away from "); strings.Contains(body, `action="`+b.base[strings.LastIndex(b.base, "/"):]+`/seat/away"`) {
		t.Error("who steps in is asked for an absence: ", body)
	}
	b.shows("/", "alba, for whom you step in, is away until "+day(14))

	// The case is older than his seat: he reads nothing of it until she encrypts it again.
	page := "/case/" + st.ID
	b.press("/", page+"/review", nil, "exhibit.not_for_this_key")
	b.press(page, page+"/reseal", nil, "custodian.not_in_force")
	a.press("/", page+"/review", nil, "I will come for you tonight.")
	a.press(page, page+"/reseal", nil, "encrypted again for aldo")
	a.press(page+"/reseal", page+"/reseal/sign", nil, "exhibits that aldo can read now: 1")
	b.press(page, page+"/review", nil, "I will come for you tonight.")
	b.press(page, page+"/approve", map[string]string{"t0q0": "yes", "t0vote": "yes"}, "pen name 1")
	b.press(page+"/approve", page+"/approve/sign", nil, "your answer is stored")
	b.newPassphrase(w)
	a.cards(t)
}

// uploads chooses files on a page and sends the form.
func (d *deskAt) uploads(page, action string, files map[string]string, want string) {
	d.t.Helper()
	values := d.form(page, action)
	body, kind := d.multipart(values, files)
	res, said := d.ask(http.MethodPost, action, kind, body)
	if said = html.UnescapeString(said); res.StatusCode != http.StatusOK || !strings.Contains(said, want) {
		d.t.Fatalf("%s: %d, which does not show %q: %s", action, res.StatusCode, want, said)
	}
}

// newPassphrase changes Aldo's passphrase at his desk.
func (d *deskAt) newPassphrase(w *world.World) {
	d.t.Helper()
	d.press("/seat", "/seat/passphrase", map[string]string{"old": "not his passphrase", "fresh": "another good passphrase", "again": "another good passphrase"}, "custodian.wrong_passphrase")
	d.press("/seat", "/seat/passphrase", map[string]string{"old": "aldo keeps this to himself", "fresh": "another good passphrase", "again": "another bad passphrase"}, "custodian.passphrases_differ")
	body := d.press("/seat", "/seat/passphrase", map[string]string{"old": "aldo keeps this to himself", "fresh": "another good passphrase", "again": "another good passphrase"}, "opens with the new passphrase")
	if strings.Contains(body, "another good") {
		d.t.Error("a passphrase is on the page")
	}
	d.press("/", "/lock", nil, "Passphrase")
	d.press("/", "/unlock", map[string]string{"passphrase": "aldo keeps this to himself"}, "custodian.wrong_passphrase")
	d.press("/", "/unlock", map[string]string{"passphrase": "another good passphrase"}, "Cases that wait")
	if err := os.WriteFile(world.PassphraseFile(w.Path("custodians", "aldo")), []byte("another good passphrase"), 0o600); err != nil {
		d.t.Fatal(err)
	}
	if said, code := w.Escrow(d.t.Context(), w.AsCustodian("aldo", "list")...); code != 0 {
		d.t.Error("the commands do not open the folder: ", said)
	}
}

// cards has the desk show the card of its folder, twice the same.
func (d *deskAt) cards(t *testing.T) {
	t.Helper()
	d.press("/seat", "/seat/card", nil, "Save alba.json")
	first := d.save("/seat/card/file", "alba.json")
	var card policy.Seat
	if err := json.Unmarshal([]byte(first), &card); err != nil || card.ID != "alba" || card.Ceremony == "" || card.Recipient == "" {
		t.Error(first, err)
	}
	d.press("/seat", "/seat/card", nil, "Save alba.json")
	if again := d.save("/seat/card/file", "alba.json"); again != first {
		t.Errorf("another card: %s", again)
	}
}

// TestDeskSeatByKeyboard: Alba announces and hands over without a mouse, in a real browser. Each
// page holds what axe-core can tell, in every view.
func TestDeskSeatByKeyboard(t *testing.T) {
	w := startForTest(t)
	b := pagetest.Open(t)
	t.Setenv("TMPDIR", t.TempDir())
	withAlternate(t, w)
	d := startDesk(t, w, "alba")
	file := <-d.files
	pass, err := typed(t.Context(), w.Path("custodians", "alba"), false)
	if err != nil {
		t.Fatal(err)
	}
	do := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	hold := func(page string) {
		t.Helper()
		holdsHere(t, b, page, pagetest.Views...)
	}
	do(b.Go("file://" + file))
	do(b.Shows("Passphrase"))
	do(b.Type("input passphrase", string(pass)))
	do(b.Press("Unlock", "Cases that wait"))
	do(b.Press("Seat", "Change the passphrase"))
	hold("seat")
	do(b.Press("Show what is signed", "Choose the first day away."))
	hold("seat without days")
	from := w.Clock.Now().UTC()
	do(b.Type("input away:from", from.Format("01022006")))
	do(b.Type("input away:until", from.AddDate(0, 0, 7).Format("01022006")))
	do(b.Press("Show what is signed", "Nothing is signed yet"))
	hold("an absence")
	do(b.Press("Sign it", "announced: away from "+from.Format(time.DateOnly)))
	hold("announced")
	do(b.Type("input deputise:alternate", " "))
	do(b.Press("Show what happens", "Nothing is made yet"))
	hold("a share")
	do(b.Press("Make the file", "Made, for aldo alone."))
	do(b.Press("Show my card", "Save alba.json"))
	do(b.Type("input old", "not her passphrase"))
	do(b.Type("input fresh", "some new passphrase"))
	do(b.Type("input again", "some new passphrase"))
	do(b.Press("Change it", "custodian.wrong_passphrase"))
	hold("all of a seat")
	do(b.Press("Cases", "You are away until"))
	hold("beside the cases")
	if back, err := b.Back(); err != nil || strings.Contains(back, "some new passphrase") {
		t.Error(back, err)
	}
}

var aPress = regexp.MustCompile(`name="press" value="([^"]+)"`)

// TestDeskInTwoTabs: what one tab shows, another does not change under the hand that signs; going
// Back after it was signed, and pressing again, signs nothing more; and the desk that locks itself
// in between signs nothing until the case was read again.
func TestDeskInTwoTabs(t *testing.T) {
	w := startForTest(t)
	t.Setenv("TMPDIR", t.TempDir())
	st := filedCase(t, w)
	d := startDesk(t, w, "alba")
	d.enter()
	d.unlock(w, "alba", st.ID)
	page := "/case/" + st.ID
	asked := func(want int) {
		t.Helper()
		body := d.press(page, page+"/review", nil, "Who asks")
		if n := strings.Count(body, "alba asks the court"); n != want {
			t.Fatalf("%d questions, not %d: %s", n, want, body)
		}
	}
	d.press("/", page+"/review", nil, "Who asks")
	d.press(page, page+"/ask", map[string]string{"text": "The first question?"}, "The first question?")
	tab := d.form(page+"/ask", page+"/ask/sign") // it lies open in one tab
	d.press(page, page+"/ask", map[string]string{"text": "The second question?"}, "The second question?")
	if shown := d.send(page+"/ask/sign", tab, "desk.changed"); !strings.Contains(shown, "The second question?") {
		t.Error("what is signed now is not shown: ", shown)
	}
	asked(0)

	// Back after signing.
	d.press(page, page+"/ask", map[string]string{"text": "The second question?"}, "The second question?")
	back := d.form(page+"/ask", page+"/ask/sign")
	d.send(page+"/ask/sign", back, "asked: question")
	d.send(page+"/ask/sign", back, "asked: question")
	asked(1)

	// Locked between what is shown and the signature.
	d.press(page, page+"/approve", map[string]string{"t0q0": "yes", "t0vote": "yes", "text": "I read it."}, "pen name 1")
	shown := d.form(page+"/approve", page+"/approve/sign")
	d.press("/", "/lock", nil, "Passphrase")
	d.send(page+"/approve/sign", shown, "Passphrase")
	d.unlock(w, "alba", "")
	shown.Set("press", d.newestPress("/"))
	d.send(page+"/approve/sign", shown, "desk.not_read")
	if said, _ := w.Escrow(t.Context(), "warrant", "status", st.ID, "--server", w.Origin); !strings.Contains(said, "0 of 2") {
		t.Error("signed unread: ", said)
	}
	body := d.press(page, page+"/review", nil, "Who asks")
	if !strings.Contains(body, "I read it.") || strings.Count(body, `value="yes" checked`) != 2 {
		t.Error("what was answered is lost: ", body)
	}
}

// newestPress is the number of a form of a page.
func (d *deskAt) newestPress(path string) string {
	d.t.Helper()
	_, body := d.get(path)
	m := aPress.FindStringSubmatch(body)
	if m == nil {
		d.t.Fatal(fmt.Sprint("no form on ", path))
	}
	return m[1]
}
