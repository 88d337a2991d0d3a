package command

import (
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"

	"github.com/penname/penname/escrow/service"
)

// tellSystemd tells the service manager a state, if one has started this process:
// sd_notify(3).
func tellSystemd(state string) error {
	socket := os.Getenv("NOTIFY_SOCKET")
	if socket == "" {
		return nil
	}
	if state == service.Reloading { // "must also include MONOTONIC_USEC=…", of clock_gettime(2)
		var now unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
			return err
		}
		state += fmt.Sprintf("\nMONOTONIC_USEC=%d", now.Nano()/1000)
	}
	conn, err := net.Dial("unixgram", socket)
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = conn.Write([]byte(state))
	return err
}
