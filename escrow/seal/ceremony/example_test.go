package ceremony_test

import (
	"fmt"
	"os"

	"github.com/penname/penname/escrow/seal/ceremony"
)

// Anybody who has the transcript of a ceremony can check that the key in a bundle
// is the one that these custodians made, and that nobody was left out.
func ExampleVerifyTranscript() {
	transcript, err := os.ReadFile("testdata/transcript.json")
	if err != nil {
		fmt.Println(err)
		return
	}
	view, err := ceremony.VerifyTranscript(transcript)
	if err != nil {
		fmt.Println(err)
		return
	}
	key, err := view.Result()
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(view.Plan().Threshold, "of", ceremony.IDs(view.Plan().Receivers))
	fmt.Println(key.Threshold(), "of", key.N(), "shares open, epoch", key.Epoch())
	// Output:
	// 2 of [alba bruno chidi]
	// 2 of 3 shares open, epoch 1
}
