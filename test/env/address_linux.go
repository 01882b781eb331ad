package env

import (
	"net"

	"golang.org/x/sys/unix"
)

// addReserved gives the reserved address to the loopback interface, if it does not have it, which takes root. It stays there.
func addReserved() error {
	name := loopbackInterface() + ":fed"
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	request, err := unix.NewIfreq(name)
	if err != nil {
		return err
	}
	if err := request.SetInet4Addr(net.ParseIP(reserved).To4()); err != nil {
		return err
	}
	return unix.IoctlIfreq(fd, unix.SIOCSIFADDR, request)
}
