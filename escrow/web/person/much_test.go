package person

import (
	"fmt"
	"time"

	"github.com/penname/penname/escrow/issue"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/token"
)

// ofMuch are the pages of somebody who has much of everything: they are as small as the others.
func ofMuch() map[string]any {
	page := mePage{Names: map[string]string{}, Homes: map[string]string{}, Members: map[string][]string{}, Silent: map[string]*silent{}, Court: policy.DefaultFields(), Writes: true, Origin: "https://penname.example",
		Leaving: leaving{Stay: "/me/stay", Form: "0011223344556677", Recovery: &issue.Recovery{Began: postedAt, Used: postedAt}, Asks: true}}
	keys := passkeysPage{Here: true, Most: 9, Leaving: page.Leaving}
	for i := range 10 {
		sector, name := fmt.Sprintf("platform-number-%d", i), token.Pseudonym(fmt.Sprintf("pen1x%033d", i))
		page.Names[sector], page.Homes[sector], page.Members[sector] = "Town Square", "https://"+sector+".example/", []string{sector}
		page.PenNames = append(page.PenNames, issue.PenName{Pseudonym: name, Platform: sector, Alias: "work phone work", Handle: "xxxxxxxxxxx", Since: postedAt, Banned: true})
		if i < maxAllowed {
			page.Silent[string(name)] = &silent{}
		}
		if i < 3 {
			n := toldAll()
			if i > 0 {
				n = toldFirst
			}
			n.Pseudonym, n.Platform, n.Leaf = name, sector, int64(i)
			page.Notices = append(page.Notices, shown(n)...)
		}
		if i < 8 {
			page.Devices = append(page.Devices, device{ID: fmt.Sprintf("%032d", i), Word: "phone phone", Day: time.Now(), This: i == 0})
			keys.Passkeys = append(keys.Passkeys, ownPasskey{fmt.Sprintf("%032d", i), "phone phone", postedAt, i + 1})
		}
	}
	return map[string]any{"me.html much": page, "passkeys.html much": keys}
}
