package requester_test

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/penname/penname/escrow/exhibit"
	"github.com/penname/penname/escrow/requester"
	"github.com/penname/penname/escrow/seal"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/opening"
)

func read(name string) []byte {
	b, err := os.ReadFile(name)
	if err != nil {
		panic(err)
	}
	return b
}

// The police open what a court ordered, with the key that only they have. A
// program reads that key with ReadKey, from a file of mode 0600.
func ExampleOpen() {
	private, err := seal.ParseDeliveryKey(strings.TrimSpace(string(read("testdata/requester.key"))))
	if err != nil {
		fmt.Println(err)
		return
	}
	rules, err := policy.ParseBundle(read("../../verifier/opening/testdata/bundle.json"))
	if err != nil {
		fmt.Println(err)
		return
	}
	var d opening.Delivery
	if err := json.Unmarshal(read("../../verifier/opening/testdata/delivery.json"), &d); err != nil {
		fmt.Println(err)
		return
	}
	opened, err := requester.Open("ayajv7klfmjqqaymngz2coqv4m", d, private, exhibit.Reader{}, rules)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, t := range opened.Targets {
		fmt.Println(t.PenName, "on", t.Platform, "is", t.Identity["name"])
	}
	fmt.Println("custodians:", opened.Certificate.Custodians)
	// Output:
	// pen1lt6cyvcual9ptemuakpc0j2vq5lus0tz on town-square is Dexter Crallow
	// custodians: [alba bruno]
}
