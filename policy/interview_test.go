package policy

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
)

// interview is of a world whose clerk has a folder with these pieces.
func (w *world) interview(t testing.TB, answers map[string]string, pieces ...string) *Interview {
	t.Helper()
	i := &Interview{Bundle: w.bundle, Pieces: pieces, Now: now,
		Read: func(name string) ([]byte, error) {
			if text, ok := map[string]string{"grounds.txt": "\ufeffA long story.\r\nIn two lines.", "order.pdf": "%PDF", "none.jws": "x"}[name]; ok {
				return []byte(text), nil
			}
			return nil, os.ErrNotExist
		},
		DeliveryKey: func(name string) (string, error) {
			if name == "requester.pub" {
				return w.delivery, nil
			}
			return "", os.ErrNotExist
		}}
	if err := i.Begin(answers); err != nil {
		t.Fatal(err, errors.Unwrap(err))
	}
	return i
}

// rightAnswers are those to what is asked of an ordinary production.
func rightAnswers() map[string]string {
	return map[string]string{
		"kind": "", "authority": "crown-court", "offence": "rape", "file_number": "T20260017", "legal_basis": "Online Safety Act 2023, s. 181",
		"grounds": "A threat of rape was posted.", "necessity": "No other lead.", "proportionality": "One pen name.", "fields": "1", "secrecy": "30",
		"secrecy_reason": "The investigation would be frustrated.", "organisation": "metropolitan", "contact": "DC Example", "delivery_key": "requester.pub", "unusual": "",
	}
}

// play answers each question from a map, and returns the names in the order in which they came.
func play(t testing.TB, i *Interview, answers map[string]string) (asked []string) {
	t.Helper()
	for range 100 {
		q, err := i.Next()
		if q == nil {
			return asked
		}
		answer, ok := answers[q.Name]
		if err != nil || !ok {
			t.Fatalf("%s has no answer: %v", q.Name, err)
		}
		if err := i.Answer(q, answer); err != nil {
			t.Fatalf("%v because %v", err, errors.Unwrap(err))
		}
		asked = append(asked, q.Name)
	}
	t.Fatal("it does not end")
	return nil
}

// What the folder and the bundle say is never asked, and what comes out is allowed.
func TestInterviewMakesADraftThatIsAllowed(t *testing.T) {
	w := fifth(t)
	pieces := []string{w.evidence(t, square, "troll", 2, now.AddDate(0, 0, -2)), w.evidence(t, square, "troll", 1, now.AddDate(0, 0, -3)),
		w.evidence(t, square, "second troll", 3, now.AddDate(0, 0, -1))}
	i := w.interview(t, nil, append(pieces, pieces[0])...)
	asked := play(t, i, rightAnswers())
	if !slices.Equal(asked, questionNames[:15]) {
		t.Error("asked:", asked)
	}
	v := i.Draft()
	v.Complete(w.bundle, [16]byte{1}, now)
	c := w.bundle.Check(v, Given{Key: &w.court, Evidence: pieces}, now)
	if len(c.Faults) > 0 {
		t.Fatal(c.Faults[0], c.Faults[0].At, c.Faults[0].Unwrap())
	}
	d := Decide(Submission{Warrant: sign(t, w.court, v), Evidence: pieces}, w.bundle, Facts{}, now)
	if !d.Allowed || len(v.Targets) != 2 || len(v.Targets[0].Further) != 1 || v.Targets[0].Evidence != digest(pieces[1]) {
		t.Fatalf("%v because %v: %+v", d.Refusal, cause(d.Refusal), v)
	}
	if v.OffenceID != "threat_of_rape" || v.OffenceClass != "threat_of_sexual_violence" || v.MaxPenaltyMonths != 60 || v.Requester.DeliveryKey != w.delivery {
		t.Errorf("%+v", v)
	}

	// What was answered is all that it needs to go on, and to say the same again.
	again := w.interview(t, i.Answers(), pieces...)
	if q, err := again.Next(); q != nil || err != nil || fmt.Sprint(again.Draft()) != fmt.Sprint(i.Draft()) {
		t.Error(q, err)
	}
}

// Every kind of order that begins with evidence can be made, with all that is seldom so.
func TestInterviewOfEachKind(t *testing.T) {
	w := fifth(t)
	earlier, _ := w.production(t)
	earlier.Kind, earlier.Fields, earlier.Requester.DeliveryKey = Preservation, nil, ""
	signed := sign(t, w.court, earlier)
	piece := w.evidence(t, square, "troll", 1, now.AddDate(0, 0, -8))
	for name, more := range map[string]map[string]string{
		"production":   {"unusual": "roles, journalist", "roles": "1=child"},
		"joint":        {"unusual": "jointly,recognises", "jointly": "magistrates", "recognises": "Tribunal judiciaire", "recognises_country": "FR", "recognises_file_number": "7", "recognises_order": "order.pdf"},
		"after":        {"unusual": "earlier,dated_back", "earlier": "kept.jws", "issued_at": "2026-02-27", "dated_back": "The clerk was ill."},
		"emergency":    {"kind": "emergency", "offence": "threat_to_kill"},
		"preservation": {"kind": "3"},
		"suspension":   {"kind": "suspension"},
		"link":         {"kind": "link", "offence": "threat_to_kill"},
		"defamation":   {"offence": "defamation", "grounds": "@grounds.txt"},
		"no copy":      {"offence": "indecent_photographs_of_children", describes + digest(piece): "A picture."},
	} {
		i := w.interview(t, nil, piece)
		read := i.Read
		i.Read = func(name string) ([]byte, error) {
			if name == "kept.jws" {
				return []byte(signed + "\n"), nil
			}
			return read(name)
		}
		answers := rightAnswers()
		maps.Copy(answers, more)
		asked := play(t, i, answers)
		for name := range more {
			if !slices.Contains(asked, name) {
				t.Errorf("%s: %s was not asked", i.Draft().Kind, name)
			}
		}
		v := i.Draft()
		v.Complete(w.bundle, [16]byte{1}, now)
		c := w.bundle.Check(v, Given{Evidence: []string{piece}, Earlier: map[bool]string{true: signed}[v.Earlier != ""]}, now)
		for _, f := range c.Faults {
			allowed := name == "production" && f.Rule == "press-freedom"
			if !allowed {
				t.Errorf("%s: %v at %s because %v", name, f.Error, f.At, f.Unwrap())
			}
		}
		if name == "defamation" && v.Grounds != "A long story.\nIn two lines." {
			t.Errorf("%q", v.Grounds)
		}
	}
}

// TestEachQuestionWithBadAnswers: what is wrong is said, with an example, and what was
// answered before stays.
func TestEachQuestionWithBadAnswers(t *testing.T) {
	w := fifth(t)
	piece := w.evidence(t, square, "troll", 1, now.AddDate(0, 0, -8))
	answers := rightAnswers()
	maps.Copy(answers, map[string]string{"unusual": "roles,earlier,jointly,recognises,dated_back", "roles": "1=victim", "jointly": "magistrates", "recognises": "Tribunal", "recognises_country": "FR",
		"recognises_file_number": "7", "recognises_order": "order.pdf", "issued_at": "2026-02-27", "dated_back": "Ill.", "earlier": "kept.jws"})
	earlier, _ := w.production(t)
	signed := sign(t, w.court, earlier)
	long, bidi := strings.Repeat("x", 4001), "Threats\u202e."
	bad := map[string][]string{
		"kind": {"wiretap", "0", "6", "production,link"}, "authority": {"", "7", "peoples-court", "c"}, "offence": {"", "heresy", "99", "of"},
		"file_number": {"", " ", "a\nb", strings.Repeat("x", 201), bidi}, "legal_basis": {"", long, bidi, "@nowhere.txt"}, "grounds": {"", long, bidi, "@nowhere.txt"},
		"necessity": {"", long, bidi}, "proportionality": {"", long, bidi}, "fields": {"", "email", "1,1", "5"},
		"secrecy":        {"", "soon", "2026-13-01", "3", "2026-03-05", "400", "2031-01-01", "-1", "99999999999999999999"},
		"secrecy_reason": {"", bidi, long}, "organisation": {"", "nobody", "custodian-1"}, "contact": {"", bidi, "a\nb"}, "delivery_key": {"", "nowhere.pub", "pendk1.abc", "none.jws"},
		"unusual": {"none,roles", "odd", "roles,roles"}, "jointly": {"", "crown-court", "magistrates,magistrates"}, "roles": {"", "2=victim", "1=accomplice", "x", "1=victim, 1=child"},
		"earlier": {"", "nowhere.jws", "none.jws", "others.jws", "strangers.jws"}, "recognises": {"", bidi}, "recognises_country": {"", "GB", "fr", "FRA"}, "recognises_file_number": {"", bidi},
		"recognises_order": {"", "nowhere.pdf"}, "issued_at": {"", "monday", "2026-03-02", "2027-01-01", "1999-01-01", "2026-01-15"}, "dated_back": {"", bidi},
	}
	i := w.interview(t, nil, piece)
	read := i.Read
	others, strangers := earlier, earlier
	others.Authority, strangers.Authority = "magistrates", "court-of-another-land"
	i.Read = func(name string) ([]byte, error) {
		switch name {
		case "kept.jws":
			return []byte(signed), nil
		case "others.jws":
			return []byte(sign(t, w.court, others)), nil
		case "strangers.jws":
			return []byte(sign(t, w.court, strangers)), nil
		}
		return read(name)
	}
	for range questionNames {
		q, err := i.Next()
		if q == nil || err != nil {
			t.Fatal(q, err)
		}
		if len(bad[q.Name]) == 0 {
			t.Errorf("%s has no bad answers", q.Name)
		}
		before := i.Answers()
		for _, answer := range bad[q.Name] {
			err := i.Answer(q, answer)
			if !errors.Is(err, ErrAnswer) {
				t.Errorf("%s: %q is taken: %v", q.Name, answer, err)
				continue
			}
			said := errors.Unwrap(err).Error()
			if !strings.HasPrefix(said, q.Name+": ") || !strings.Contains(said, "; for example: "+q.Example) || q.Example == "" || len(answer) > 3 && strings.Contains(said, answer) {
				t.Errorf("%s: %q: %s", q.Name, answer, said)
			}
			if !maps.Equal(i.Answers(), before) {
				t.Errorf("%s: %q changes what was answered", q.Name, answer)
			}
		}
		// A wrong one in a file of answers is asked for again, and the others stay.
		resumed := w.interview(t, before, piece)
		resumed.Read = i.Read
		resumed.answers[q.Name] = bad[q.Name][len(bad[q.Name])-1]
		if again, err := resumed.Next(); again == nil || again.Name != q.Name || !errors.Is(err, ErrAnswer) {
			t.Errorf("%s: %v, %v", q.Name, again, err)
		}
		if err := i.Answer(q, answers[q.Name]); err != nil {
			t.Fatal(q.Name, err, errors.Unwrap(err))
		}
	}
	if q, err := i.Next(); q != nil || err != nil {
		t.Error("not all are answered:", q, err)
	}
	for _, name := range questionNames {
		if _, ok := i.Answers()[name]; !ok {
			t.Error(name, "was never asked")
		}
	}
}

func TestInterviewThatCannotBegin(t *testing.T) {
	w := fifth(t)
	piece := w.evidence(t, square, "troll", 1, now.AddDate(0, 0, -8))
	for name, c := range map[string]struct {
		i       Interview
		answers map[string]string
		want    error
	}{
		"an old bundle":       {Interview{Bundle: newWorld(t).bundle, Pieces: []string{piece}}, nil, ErrNoCatalogue},
		"no evidence":         {Interview{Bundle: w.bundle}, nil, ErrNoPieces},
		"what is none":        {Interview{Bundle: w.bundle, Pieces: []string{"x"}}, nil, ErrBadEvidence},
		"an unknown answer":   {Interview{Bundle: w.bundle, Pieces: []string{piece}}, map[string]string{"colour": "red"}, ErrNoQuestion},
		"of no such piece":    {Interview{Bundle: w.bundle, Pieces: []string{piece}}, map[string]string{describes + digest("x"): "A picture."}, ErrNoQuestion},
		"of other evidence":   {Interview{Bundle: w.bundle, Pieces: []string{piece}}, map[string]string{"evidence": digest("x")}, ErrOtherPieces},
		"all as it should be": {Interview{Bundle: w.bundle, Pieces: []string{piece}}, map[string]string{"kind": "link"}, nil},
	} {
		if err := c.i.Begin(c.answers); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestSecrecyOfTooManyDays: what is too long is said to be so, however long it is, and not to be no
// number.
func TestSecrecyOfTooManyDays(t *testing.T) {
	w := fifth(t)
	i := w.interview(t, nil, w.evidence(t, square, "troll", 1, now.AddDate(0, 0, -8)))
	answers := rightAnswers()
	for range 30 {
		q, err := i.Next()
		if err != nil {
			t.Fatal(err)
		}
		if q.Name != "secrecy" {
			if err := i.Answer(q, answers[q.Name]); err != nil {
				t.Fatal(q.Name, err)
			}
			continue
		}
		for answer, says := range map[string]string{"400": "days at most", "99999": "days at most", "99999999999999999999": "days at most", "0": "it is a day", "000": "it is a day", "-1": "it is a day"} {
			if err := i.Answer(q, answer); err == nil || !strings.Contains(errors.Unwrap(err).Error(), says) {
				t.Errorf("%s: %v", answer, errors.Unwrap(err))
			}
		}
		return
	}
	t.Fatal("it is not asked")
}
