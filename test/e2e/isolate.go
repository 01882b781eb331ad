//go:build linux && e2e

package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
)

// isolated is set, to the folder of what was built before, in the environment of the process that runs in namespaces of its own.
const isolated = "KUBEFEDERATE_E2E"

// isolate runs this program again as the first process of namespaces of its own and returns its exit code. When that process
// ends, however that happens, the kernel ends all others in them and removes their mounts, bridges and addresses.
func isolate(folder string) (code int, err error) {
	command := exec.Command("/proc/self/exe", os.Args[1:]...)
	command.Env = append(os.Environ(), isolated+"="+folder)
	command.Stdout, command.Stderr = os.Stdout, os.Stderr
	command.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS | syscall.CLONE_NEWNET | syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC,
		Pdeathsig:  syscall.SIGKILL,
	}
	err = command.Run()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return max(1, exit.ExitCode()), nil
	}
	return 0, err
}

// private are folders that container runtimes share on a machine, whatever they are configured with.
var private = []string{"/run/netns", "/run/containerd", "/var/lib/cni", "/var/log/containers"}

// serviceAddress is that of the Service kubernetes.default, where pods look for their API server.
const serviceAddress = "10.0.0.1"

// prepare makes the namespaces of this process ready for nodes.
func prepare() error {
	if err := syscall.Mount("none", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := syscall.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	for _, folder := range private {
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return err
		}
		if err := syscall.Mount("tmpfs", folder, "tmpfs", 0, ""); err != nil {
			return fmt.Errorf("mount %s: %w", folder, err)
		}
	}
	for _, line := range [][]string{
		{"ip", "link", "set", "lo", "up"},
		// A network that leads nowhere: servers take the address of the default route for that of their machine.
		{"ip", "link", "add", "kf", "type", "bridge"},
		{"ip", "link", "set", "kf", "up"},
		{"ip", "address", "add", serviceAddress + "/32", "dev", "kf"},
		{"ip", "route", "add", "default", "dev", "kf"},
	} {
		if out, err := exec.Command(line[0], line[1:]...).CombinedOutput(); err != nil {
			return fmt.Errorf("%v: %w: %s", line, err, out)
		}
	}
	// Pods of one node reach those of another.
	return os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o644)
}
