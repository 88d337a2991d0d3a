package disclosetest_test

import (
	"testing"

	"github.com/penname/penname/escrow/disclose"
	"github.com/penname/penname/escrow/disclose/disclosetest"
)

func TestMemoryConforms(t *testing.T) {
	disclosetest.TestCases(t, func(*testing.T) disclosetest.Store { return new(disclosetest.Memory) })
}

func TestMemoryKeepsARegistry(t *testing.T) {
	disclosetest.TestPlatforms(t, func(*testing.T) (disclosetest.Store, disclose.Registry) {
		m := new(disclosetest.Memory)
		return m, m.Registry()
	})
}
