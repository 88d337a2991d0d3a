package custodian_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/penname/penname/escrow/custodian"
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

// A folder is made once; its card goes to the operator, who plans a ceremony with
// it.
func ExampleHome_Create() {
	dir, err := os.MkdirTemp("", "custodian")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	home := custodian.Home{Dir: filepath.Join(dir, "alba"), Passphrase: func(context.Context, string, bool) ([]byte, error) {
		return []byte("several random words"), nil // a program asks the person
	}}
	// Work factor 1 is for examples: see custodian.DefaultWorkFactor.
	alba, err := home.Create(context.Background(), custodian.Identity{ID: "alba", Name: "Alba Ferrand", Organisation: "Bar Association"}, 1)
	if err != nil {
		fmt.Println(err)
		return
	}
	card, err := alba.Card()
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(card.ID, "of", card.Organisation, "can take part in a ceremony:", card.Ceremony != "")
	// Output:
	// alba of Bar Association can take part in a ceremony: true
}

// A case is reviewed under the rules of its day, with nothing but the file that the
// registrar showed. Gerd is no custodian of these rules, so he can only look.
func ExampleCustodian_Review() {
	dir, err := os.MkdirTemp("", "custodian")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	home := custodian.Home{Dir: filepath.Join(dir, "gerd"), Passphrase: func(context.Context, string, bool) ([]byte, error) {
		return []byte("several random words"), nil
	}}
	gerd, err := home.Create(context.Background(), custodian.Identity{ID: "gerd", Name: "Gerd", Organisation: "Observers"}, 1)
	if err != nil {
		fmt.Println(err)
		return
	}
	day := time.Date(2026, 11, 28, 15, 0, 0, 0, time.UTC)
	rules, err := policy.ParseBundle(read("../../verifier/opening/testdata/bundle.json"))
	if err != nil {
		fmt.Println(err)
		return
	}
	var file opening.CaseFile
	if err := json.Unmarshal(read("testdata/case.json"), &file); err != nil {
		fmt.Println(err)
		return
	}
	review, err := gerd.Review(file.Case, file, []*policy.Bundle{rules}, day)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, finding := range review.Findings {
		fmt.Println(finding)
	}
	fmt.Println(review.Targets[0].Questions[0])
	_, err = gerd.Approve(review, []custodian.Answer{{Target: "1", Says: []string{"yes"}}}, day)
	fmt.Println(err)
	_, err = gerd.Decline(review, "disproportionate", day)
	fmt.Println(err)
	// Output:
	// the warrant is signed by Thornley County Court (county-court), and the rules allow it: A judicial authority may have named pen names opened (production-under-secrecy)
	// every target has evidence signed by its platform, with the token as presented
	// the public log recorded it at entry 11, cosigned by a quorum of witnesses
	// each sealed record is the one that the token committed to, so it belongs to this pen name; that does not prove who wrote the post
	// Does each of these posts show this offence, Threats to kill or to cause serious harm?
	// custodian.no_share: the folder holds no share of the custodians' key: take part in a ceremony first
	// custodian.not_in_force: you are not a custodian of the rules in force: who signs must be, whatever the rules of the case's day say
}
