package disclose

import (
	"context"
	"encoding/json"

	"github.com/penname/penname/verifier/opening"
)

// packLinked packs what an order to link delivers: the pen names of the person of its one
// target, which the issuing side alone can make. This side opens the link, which says what the
// record is and not whose, and leaves the order with all proofs for the other side, which
// believes none of it, see issue.Linker. Until it has answered it is [ErrLinkWaits]. What it
// answers is encrypted to the requester: this side does not learn the pen names.
func (r *Registrar) packLinked(ctx context.Context, c Case, p *opening.Package) error {
	targets, err := c.targets()
	if err != nil {
		return err
	}
	opened, err := r.openTargets(ctx, targets)
	if err != nil {
		return err
	}
	if len(opened) != 1 {
		return ErrNotAsLogged // such a warrant names one
	}
	if err := opened[0].Err; err != nil {
		return err
	}
	p.Targets = []opening.PackageTarget{{OpenedTarget: opened[0].Value.OpenedTarget}}
	asked, err := json.Marshal(p)
	if err != nil {
		return err
	}
	order, err := json.Marshal(opening.Delivery{Rounds: []opening.Round{{Package: asked}}, Approvals: c.signedApprovals()})
	if err != nil {
		return err
	}
	p.Targets[0].Linked, err = r.Link(ctx, c.ID, order)
	return err
}
