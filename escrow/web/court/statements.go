package court

import (
	"context"
	"crypto/sha256"
	"net/http"
	"strings"
	"time"

	"github.com/penname/penname/escrow/registrar"
	"github.com/penname/penname/escrow/web"
	"github.com/penname/penname/policy"
)

// say takes what a custodian signed beside a decision.
func (s *side) say(w http.ResponseWriter, r *http.Request, store func(signed string) error) error {
	var in registrar.Statement
	if err := web.ReadJSON(r, &in); err != nil {
		return err
	}
	if err := store(in.Statement); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// said shows the court of a case what custodians say to it. An inquiry is answered once.
func (s *side) said(w http.ResponseWriter, r *http.Request) error {
	var in registrar.Inquiry
	if err := web.ReadJSON(r, &in); err != nil {
		return err
	}
	id := r.PathValue(registrar.ParamCase)
	said, away, err := s.Registrar.Inquire(r.Context(), id, in.Inquiry)
	if err != nil {
		return err
	}
	if err := s.answerOnce(r.Context(), in.Inquiry); err != nil {
		return err
	}
	return web.WriteJSON(w, http.StatusOK, registrar.Said{Case: id, Said: said, Absences: away})
}

// answerOnce notes that a signed inquiry is answered, and refuses one that was. It is known by
// what was signed: an elliptic signature has a twin that verifies as well.
func (s *side) answerOnce(ctx context.Context, inquiry string) error {
	asked := inquiry[:max(0, strings.LastIndexByte(inquiry, '.'))]
	first, err := s.SingleUse.Use(ctx, sha256.Sum256([]byte("inquiry\x00"+asked)), s.edge.Now().Add(15*time.Minute))
	if err == nil && !first {
		err = policy.ErrInquiry
	}
	return err
}

// absences are those of custodians that are not over: they are announced to everybody.
func (s *side) absences(w http.ResponseWriter, r *http.Request) error {
	away, err := s.Registrar.Absences(r.Context())
	if err != nil {
		return err
	}
	return web.WriteJSON(w, http.StatusOK, registrar.Said{Absences: away})
}
