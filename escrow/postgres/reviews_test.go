package postgres

import (
	"crypto/rand"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/penname/penname/escrow/disclose"
)

// The trigger lets a review move as [disclose.ReviewLife] says, from every state to
// every other, and no other way; by its own states and with what they need.
func TestTheTriggerKnowsTheLifeOfAReview(t *testing.T) {
	admin := database(t)
	conn := connect(t, admin)
	exec := func(format string, args ...any) error {
		_, err := conn.Exec(t.Context(), fmt.Sprintf("SET search_path = penname; "+format, args...))
		return err
	}
	must := func(format string, args ...any) {
		t.Helper()
		if err := exec(format, args...); err != nil {
			t.Fatal(err)
		}
	}
	for i, outcome := range []string{"accept", "separate", "object"} {
		must(`INSERT INTO log_leaves (index, leaf) VALUES (%d, '%s')`, i, outcome)
	}
	for from := range disclose.ReviewLife {
		for to := range disclose.ReviewLife {
			id, over := strings.ToLower(rand.Text()[:12]), func(s disclose.ReviewState) string {
				if s == disclose.ReviewDone {
					return "NULL"
				}
				return `sha256('` + string(from) + string(to) + `')`
			}
			must(`SET session_replication_role = replica; DELETE FROM review_outcomes; DELETE FROM reviews;
				INSERT INTO reviews (id, mark, whose, account, several, state, due, day) VALUES ('%[1]s', %[2]s, %[2]s, false, false, '%[3]s', '2026-12-06', '2026-11-28');
				INSERT INTO review_outcomes (review, outcome, salt, signed, leaf) SELECT '%[1]s', leaf, sha256('x'), '{a,b}', index FROM (SELECT convert_from(leaf, 'UTF8') leaf, index FROM log_leaves) l;
				SET session_replication_role = DEFAULT`, id, over(from), from)
			err := exec(`UPDATE reviews SET state = '%s', mark = %[2]s, whose = %[2]s WHERE id = '%[3]s'`, to, over(to), id)
			if legal := from == to || slices.Contains(disclose.ReviewLife[from], to); legal != (err == nil) {
				t.Errorf("%s to %s: %v", from, to, err)
			}
			if !slices.Contains([]disclose.ReviewState{disclose.ReviewWaiting, disclose.ReviewObjected, disclose.ReviewSeparated}, to) || !slices.Contains(disclose.ReviewLife[from], to) {
				continue
			}
			must(`SET session_replication_role = replica; DELETE FROM review_outcomes; UPDATE reviews SET state = '%s'; SET session_replication_role = DEFAULT`, from)
			if _, name := sqlState(exec(`UPDATE reviews SET state = '%s'`, to)); name != "reviews_outcome" {
				t.Errorf("%s to %s without a leaf: %s", from, to, name)
			}
		}
	}
	must(`SET session_replication_role = replica; UPDATE reviews SET state = 'waiting', due = '2026-12-06', objected = true, mark = sha256('m'), whose = sha256('w'); SET session_replication_role = DEFAULT`)
	if _, name := sqlState(exec(`UPDATE reviews SET state = 'accepted'`)); name != "reviews_transition" {
		t.Errorf("what was objected to takes effect: %s", name)
	}
	if _, name := sqlState(exec(`UPDATE reviews SET objected = false`)); name != "reviews_fixed" {
		t.Errorf("an objection is taken back: %s", name)
	}
	if err := exec(`INSERT INTO reviews (id, mark, whose, account, several, state, due, day) VALUES ('aaaaaaaaaaaa', sha256('n'), sha256('w'), false, false, 'accepted', '2026-12-06', '2026-11-28')`); err == nil {
		t.Error("a review begins as accepted")
	}
}
