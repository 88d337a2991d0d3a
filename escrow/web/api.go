package web

import (
	"crypto/sha256"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/labstack/echo/v4"

	"github.com/penname/penname/escrow/disclose"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/token"
)

func (s *Server) apiRoutes(e *echo.Echo) {
	e.GET("/v1/bundle", s.bundle)
	e.POST("/v1/warrants", s.fileWarrant, filingLimit())
	e.GET("/v1/warrants/:case", s.warrantStatus)
	e.GET("/v1/warrants/:case/package", s.warrantPackage)
	e.GET("/v1/cases", s.pendingCases, s.custodian)
	e.GET("/v1/cases/:case", s.reviewCase, s.custodian)
	e.POST("/v1/cases/:case/decisions", s.decideCase, s.custodian)
	e.GET("/log/*", echo.WrapHandler(http.StripPrefix("/log", s.LogTiles)))
}

// body reads a strict JSON object into v: no unknown and no repeated field,
// nothing after it (ATTACKS H04).
func body(c echo.Context, v any) error {
	if mediaType, _, _ := strings.Cut(c.Request().Header.Get("Content-Type"), ";"); mediaType != echo.MIMEApplicationJSON {
		return errMediaType
	}
	b, err := io.ReadAll(c.Request().Body)
	if err != nil {
		return err
	}
	if err := jsonv2.Unmarshal(b, v, jsonv2.RejectUnknownMembers(true)); err != nil {
		return errBody
	}
	return nil
}

// bundle is byte for byte what was endorsed: its hash is its address.
func (s *Server) bundle(c echo.Context) error {
	raw, endorsements, err := s.Registrar.Rules.Bundles.Current(c.Request().Context())
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, map[string]any{"bundle": raw, "endorsements": endorsements})
}

// CaseStatus is what filing a warrant and asking for its status return. It
// names no target.
type CaseStatus struct {
	Case       string         `json:"case"`
	State      disclose.State `json:"state"`
	Approvals  int            `json:"approvals"`
	Declined   int            `json:"declined"`
	Quorum     int            `json:"quorum"`
	Leaf       int64          `json:"leaf"` // of the recorded warrant
	Bundle     string         `json:"bundle"`
	SecrecyEnd time.Time      `json:"secrecy_ends"`
	Expires    time.Time      `json:"expires"`
	Rules      []string       `json:"rules,omitempty"`
}

func statusOf(c disclose.Summary) CaseStatus {
	return CaseStatus{
		Case: c.ID, State: c.State, Approvals: c.Approved, Declined: c.Declined, Quorum: c.Quorum, Leaf: c.Leaf,
		Bundle: c.Bundle, SecrecyEnd: c.SecrecyEnds, Expires: c.Expires,
	}
}

func (s *Server) fileWarrant(c echo.Context) error {
	var sub policy.Submission
	if err := body(c, &sub); err != nil {
		return err
	}
	filed, decision, err := s.Registrar.File(c.Request().Context(), sub)
	if err != nil {
		return withFacts{error: err, rules: decision.Rules}
	}
	st := statusOf(filed.Summary())
	st.Rules = decision.Rules
	return c.JSON(http.StatusCreated, st)
}

func (s *Server) warrantStatus(c echo.Context) error {
	found, err := s.Registrar.Status(c.Request().Context(), c.Param("case"))
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, statusOf(found))
}

func (s *Server) warrantPackage(c echo.Context) error {
	ctx := c.Request().Context()
	d, err := s.Registrar.Deliver(ctx, c.Param("case"))
	if errors.Is(err, disclose.ErrQuorumNotMet) {
		if found, serr := s.Registrar.Status(ctx, c.Param("case")); serr == nil {
			return withFacts{error: err, approvals: &found.Approved, quorum: &found.Quorum}
		}
	}
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, d)
}

// custodian lets only a custodian of the bundle in force pass: the request
// carries a DPoP proof (RFC 9449, 4.2) by the key that the bundle names. A
// proof is for one request: method, address and time are signed, its id is
// used up.
func (s *Server) custodian(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		r := c.Request()
		proofs := r.Header.Values("DPoP")
		if len(proofs) != 1 { // RFC 9449, 4.3: not more than one DPoP header
			return policy.ErrUnknownCustodian
		}
		p, err := token.VerifyDPoP(proofs[0], token.DPoPWant{
			Method: r.Method, URL: s.Origin + r.URL.Path, Now: s.Now(), MaxAge: time.Minute,
		})
		if err != nil {
			return err
		}
		b, err := s.Registrar.Rules.Current(r.Context())
		if err != nil {
			return err
		}
		if !b.HasCustodianKey(p.JKT) {
			return policy.ErrUnknownCustodian
		}
		first, err := s.Once.Use(r.Context(), sha256.Sum256([]byte("dpop\x00"+p.JKT+"\x00"+p.ID)), nextHour(s.Now().Add(2*time.Minute)))
		if err != nil {
			return err
		}
		if !first {
			return token.ErrProofReplayed
		}
		return next(c)
	}
}

func (s *Server) pendingCases(c echo.Context) error {
	var from disclose.Cursor
	if err := from.UnmarshalText([]byte(c.QueryParam("from"))); err != nil {
		return err
	}
	waiting, next, err := s.Registrar.Waiting(c.Request().Context(), from)
	if err != nil {
		return err
	}
	list := make([]CaseStatus, len(waiting))
	for i, p := range waiting {
		list[i] = statusOf(p)
	}
	return c.JSON(http.StatusOK, map[string]any{"cases": list, "next": next}) // next is empty on the last page
}

func (s *Server) reviewCase(c echo.Context) error {
	f, err := s.Registrar.Review(c.Request().Context(), c.Param("case"))
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, f)
}

func (s *Server) decideCase(c echo.Context) error {
	var in struct {
		Decision string `json:"decision"` // the signed approval or refusal, policy.SignApproval
	}
	if err := body(c, &in); err != nil {
		return err
	}
	decided, err := s.Registrar.Decide(c.Request().Context(), c.Param("case"), in.Decision)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, statusOf(decided.Summary()))
}
