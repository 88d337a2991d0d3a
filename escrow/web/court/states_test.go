package court

import (
	"os"
	"regexp"
	"slices"
	"testing"

	"github.com/penname/penname/escrow/registrar"
)

// The wire names the states of a case as the disclosing side has them, each.
func TestTheWireNamesEveryState(t *testing.T) {
	source, err := os.ReadFile("../../disclose/life.go")
	if err != nil {
		t.Fatal(err)
	}
	var states []string
	for _, m := range regexp.MustCompile(`\sState = "([a-z]+)"`).FindAllStringSubmatch(string(source), -1) {
		states = append(states, m[1])
	}
	if !slices.Equal(states, registrar.CaseStates) {
		t.Errorf("%v, not %v", registrar.CaseStates, states)
	}
}
