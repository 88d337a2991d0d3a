package court

import (
	"net/http"

	"github.com/penname/penname/escrow/disclose"
	"github.com/penname/penname/escrow/registrar"
	"github.com/penname/penname/escrow/web"
)

// board is the custodians' message board.
type board struct{ *disclose.Board }

// MountBoard serves the custodians' message board. It needs no log-in: what is
// read is public, and what is written is signed by a participant of a plan that
// the operator opened. It works before there is a bundle: the first ceremony
// makes the key that the first bundle names.
func MountBoard(edge *web.Server, d *disclose.Board) {
	b := board{d}
	edge.Handle(http.MethodGet, registrar.PathMessages, web.NoBody, web.Rate{}, b.messages)
	edge.Handle(http.MethodPost, registrar.PathMessages, message, web.Filing, b.say)
	edge.Handle(http.MethodGet, registrar.PathTranscript, web.NoBody, web.Rate{}, b.transcript)
}

func boardOf(c disclose.Ceremony) registrar.Board {
	b := registrar.Board{Messages: []string{}, Closed: c.Transcript != nil}
	for _, said := range c.Said {
		b.Messages = append(b.Messages, said.Signed)
	}
	return b
}

func (b board) messages(w http.ResponseWriter, r *http.Request) error {
	found, err := b.Ceremony(r.Context(), r.PathValue(registrar.ParamPlan))
	if err != nil {
		return err
	}
	return web.WriteJSON(w, http.StatusOK, boardOf(found))
}

func (b board) say(w http.ResponseWriter, r *http.Request) error {
	var in registrar.Message
	if err := web.ReadJSON(r, &in); err != nil {
		return err
	}
	found, err := b.Say(r.Context(), r.PathValue(registrar.ParamPlan), in.Message)
	if err != nil {
		return err
	}
	return web.WriteJSON(w, http.StatusCreated, boardOf(found))
}

// transcript is byte for byte what was hashed into the log.
func (b board) transcript(w http.ResponseWriter, r *http.Request) error {
	found, err := b.Ceremony(r.Context(), r.PathValue(registrar.ParamPlan))
	if err != nil {
		return err
	}
	if found.Transcript == nil {
		return disclose.ErrNoCeremony
	}
	w.Header().Set("Content-Type", "application/json")
	_, err = w.Write(found.Transcript)
	return err
}
