package web

import (
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/penname/penname/escrow/disclose"
)

// boardRoutes is the custodians' message board. It needs no log-in: what is
// read is public, and what is written is signed by a participant of a plan that
// the operator opened. It works before there is a bundle: the first ceremony
// makes the key that the first bundle names.
func (s *Server) boardRoutes(e *echo.Echo) {
	e.GET("/v1/ceremonies/:plan/messages", s.ceremonyMessages)
	e.POST("/v1/ceremonies/:plan/messages", s.ceremonySay, filingLimit())
	e.GET("/v1/ceremonies/:plan/transcript", s.ceremonyTranscript)
}

// Board is what was said in a ceremony, in the order in which it came.
type Board struct {
	Messages []string `json:"messages"`
	Closed   bool     `json:"closed"` // the transcript is in the public log
}

func boardOf(c disclose.Ceremony) Board {
	b := Board{Messages: []string{}, Closed: c.Transcript != nil}
	for _, said := range c.Said {
		b.Messages = append(b.Messages, said.Signed)
	}
	return b
}

func (s *Server) ceremonyMessages(c echo.Context) error {
	found, err := s.Board.Ceremony(c.Request().Context(), c.Param("plan"))
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, boardOf(found))
}

func (s *Server) ceremonySay(c echo.Context) error {
	var in struct {
		Message string `json:"message"` // policy.SignCeremonyMessage
	}
	if err := body(c, &in); err != nil {
		return err
	}
	found, err := s.Board.Say(c.Request().Context(), c.Param("plan"), in.Message)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusCreated, boardOf(found))
}

// ceremonyTranscript is byte for byte what was hashed into the log.
func (s *Server) ceremonyTranscript(c echo.Context) error {
	found, err := s.Board.Ceremony(c.Request().Context(), c.Param("plan"))
	if err != nil {
		return err
	}
	if found.Transcript == nil {
		return disclose.ErrNoCeremony
	}
	return c.Blob(http.StatusOK, echo.MIMEApplicationJSON, found.Transcript)
}
