package disclose_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/penname/penname/escrow/escrowtest"
)

// brokenModels are the protections that model/gate.pml can leave out, each with
// the invariant that spin must then find violated:
//
//	I1       a share, and a package, leave only for what the public log holds
//	I2       the key service opens its half only after the leaf AUTHORISED
//	I3       approvals are for this case, warrant and bundle, by custodians in
//	         force, and somebody honest is among a quorum
//	I4       a custodian counts once, and there is one package
//	I5       the log has one history, which only grows
//	I6       what was acknowledged or published is still there after a failover
//	I17      nothing is released or handed over once a withdrawal is in the log
//	I18      nothing is released once the warrant has expired
//	Bundles  a bundle in force follows the one before, for everybody, and a case
//	         is recorded under the one in force
//	Review   a custodian signs what they read
var brokenModels = map[string]string{
	"LEAF":          "I1",      // a custodian does not ask for the leaf
	"CLIENT_QUORUM": "I1",      // one witness is enough for a custodian
	"DELIVERY":      "I1",      // a package is handed over before its leaf is cosigned
	"ROW":           "I2",      // the row says that the case is authorised
	"COSIGN":        "I2",      // the leaf AUTHORISED need not be cosigned
	"CASE":          "I3",      // an approval of another warrant or bundle counts
	"SIGNER":        "I3",      // who may sign is looked up before the transaction
	"ONCE":          "I4",      // a repeated decision counts again
	"TWICE":         "I4",      // the second replica releases too
	"WITNESS":       "I5",      // a witness forgets what it cosigned
	"START":         "I5",      // the service starts over an older database
	"RETRY":         "I6",      // a repeat takes a row that it can read for durable
	"PUBLISHER":     "I6",      // what the standby lacks is published
	"WITHDRAWAL":    "I17",     // a withdrawal is looked for before the release only
	"EXPIRY":        "I18",     // so is the end of the warrant
	"FILE":          "Bundles", // a case is stored under rules that ended meanwhile
	"PREDECESSOR":   "Bundles", // any endorsed bundle is installed, at any time
	"FIRST_WINS":    "Bundles", // the predecessor is looked at before the transaction
	"FOLLOW":        "Bundles", // a client takes the bundle that it is shown
	"FOLDER":        "Review",  // what is signed is fetched again
}

// TestModelOfTheGate has spin visit every state of the gate: no invariant is
// violated, and the search was complete.
func TestModelOfTheGate(t *testing.T) {
	t.Parallel()
	out := searchModel(t, "NONE")
	if !strings.Contains(out, "errors: 0") {
		t.Fatal(out)
	}
	if !strings.Contains(out, "Full statespace search") || strings.Contains(out, "Search not completed") || strings.Contains(out, "max search depth too small") {
		t.Errorf("not every state was visited: %s", out)
	}
	for _, line := range regexp.MustCompile(`.*(states, stored|transitions|total actual memory).*`).FindAllString(out, -1) {
		t.Log(strings.TrimSpace(line))
	}
}

// TestModelOfTheGateOpens: the gate is not safe for being shut. A case that was
// recorded under the first rules ends well under the second.
func TestModelOfTheGateOpens(t *testing.T) {
	t.Parallel()
	wantViolated(t, "OPENS", "Shut")
}

func TestModelOfTheGateBroken(t *testing.T) {
	source, err := os.ReadFile("model/gate.pml")
	if err != nil {
		t.Fatal(err)
	}
	for _, use := range regexp.MustCompile(`(?:check\(|BREAK == )([A-Z_]+)`).FindAllStringSubmatch(string(source), -1) {
		if brokenModels[use[1]] == "" {
			t.Errorf("nobody leaves out %s", use[1])
		}
	}
	for protection, invariant := range brokenModels {
		t.Run(protection, func(t *testing.T) {
			t.Parallel()
			wantViolated(t, protection, invariant)
		})
	}
}

func wantViolated(t *testing.T, protection, invariant string) {
	t.Helper()
	if out := searchModel(t, protection); !strings.Contains(out, "assertion violated ("+invariant+"||") {
		t.Errorf("without %s, %s is not violated: %s", protection, invariant, out)
	}
}

// searchModel returns what spin's verifier says of the model without one
// protection. The verifier stops at 900 MB or a depth of 100,000 steps, and says so.
func searchModel(t *testing.T, without string) string {
	t.Helper()
	model, err := filepath.Abs("model/gate.pml")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	run := func(name string, args ...string) string {
		cmd := exec.CommandContext(t.Context(), name, args...)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", name, err, out)
		}
		return string(out)
	}
	for _, tool := range []string{"spin", "gcc"} {
		if _, err := exec.LookPath(tool); err != nil {
			escrowtest.SkipOrFail(t, fmt.Errorf("%w: `make setup` installs it", err))
		}
	}
	run("spin", "-a", "-DBREAK="+without, model)
	run("gcc", "-w", "-DSAFETY", "-DNOREDUCE", "-DMEMLIM=900", "-o", "pan", "pan.c")
	return run(filepath.Join(dir, "pan"), "-m100000")
}
