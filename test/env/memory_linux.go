package env

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// FindProcess is the process of which match is true of the words of its command line.
func FindProcess(match func(words []string) bool) (pid int, err error) {
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return 0, err
	}
	for _, file := range files {
		if line, err := os.ReadFile(file); err == nil && match(strings.Split(string(line), "\x00")) {
			return strconv.Atoi(filepath.Base(filepath.Dir(file)))
		}
	}
	return 0, errors.New("no process has such a command line")
}

// MemoryOf is what a process needs, in KiB, by a line of its status such as VmRSS, or VmHWM for the most so far (proc_pid_status(5)).
func MemoryOf(pid int, line string) (kib int, err error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for l := range strings.Lines(string(status)) {
		if value, is := strings.CutPrefix(l, line+":"); is {
			return strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(value), " kB"))
		}
	}
	return 0, fmt.Errorf("the status has no %s", line)
}
