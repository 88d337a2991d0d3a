package openidtest_test

import (
	"testing"

	"github.com/penname/penname/escrow/openid"
	"github.com/penname/penname/escrow/openid/openidtest"
)

func TestMemory(t *testing.T) {
	openidtest.TestStore(t, func(*testing.T) openid.Store { return openidtest.NewMemory() })
}
