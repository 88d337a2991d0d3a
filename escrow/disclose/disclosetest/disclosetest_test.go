package disclosetest_test

import (
	"testing"

	"github.com/penname/penname/escrow/disclose/disclosetest"
)

func TestMemoryConforms(t *testing.T) {
	disclosetest.TestCases(t, func(*testing.T) disclosetest.Store { return new(disclosetest.Memory) })
}
