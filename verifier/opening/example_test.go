package opening_test

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/opening"
)

// An appeal court has the delivery, as it lies in the court file, and the bundle
// of rules of that day. It asks nobody.
func ExampleVerify() {
	var saved opening.Delivery
	raw, err := os.ReadFile("testdata/delivery.json")
	if err == nil {
		err = json.Unmarshal(raw, &saved)
	}
	if err != nil {
		fmt.Println(err)
		return
	}
	raw, err = os.ReadFile("testdata/bundle.json")
	if err != nil {
		fmt.Println(err)
		return
	}
	rules, err := policy.ParseBundle(raw)
	if err != nil {
		fmt.Println(err)
		return
	}
	o, err := opening.Verify(saved, rules)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("lawful:", o.Warrant.Kind, "of", o.Warrant.Authority+",", o.Warrant.FileNumber)
	fmt.Println("approved by", strings.Join(o.Certificate.Custodians, " and "))
	fmt.Println("recorded before authorised before released:",
		o.Certificate.Recorded < o.Certificate.Authorised && o.Certificate.Authorised < o.Certificate.Released)

	// With one approval less it is not.
	saved.Approvals = saved.Approvals[:1]
	_, err = opening.Verify(saved, rules)
	fmt.Println(err)
	// Output:
	// lawful: production of county-court, TC 118 of 2026
	// approved by alba and bruno
	// recorded before authorised before released: true
	// package.malformed: the package is cut short, or its parts do not belong together: nothing was opened, fetch it again and keep this one if it stays so
}
