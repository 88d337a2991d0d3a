package translogtest_test

import (
	"testing"

	"github.com/penname/penname/escrow/translog"
	"github.com/penname/penname/escrow/translog/translogtest"
)

func TestMemoryConforms(t *testing.T) {
	translogtest.TestStore(t, func(*testing.T) (translog.Store, translogtest.Update) {
		m := new(translogtest.Memory)
		return m, m.Update
	})
}
