package terminal

import (
	"slices"
	"testing"
)

// TestScreen holds what recordings are judged by.
func TestScreen(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, written string
		lines, long   []string
		faults        int
	}{
		{"text", "ab\r\nc\r\n", []string{"ab", "c"}, nil, 0},
		{"as long as a row", "12345\r\n6\r\n", []string{"12345", "6"}, nil, 0},
		{"longer than a row", "123456\r\n7\r\n", []string{"123456", "7"}, []string{"123456"}, 0},
		{"a blank where a row ends", "1234 6\r\n", []string{"1234 6"}, []string{"1234 6"}, 0},
		{"a live line", "\r\x1b[Kab\r\x1b[Kc\r\x1b[Kdone\r\n", []string{"done"}, nil, 0},
		{"a live line that wraps", "\r\x1b[K1234567\r\x1b[Kdone\r\n", []string{"12345done"}, []string{"12345done"}, 1},
		{"what stays of a line", "abcd\rx\r\n", []string{"xbcd"}, nil, 0},
		{"colors", "a\x1b[32mb\x1b[0m\r\n", []string{"a‹32›b‹0›"}, nil, 0},
		{"an unknown sequence", "\x1b[2Ja\a\r\n", []string{"a"}, nil, 2},
		{"nothing", "", nil, nil, 0},
	} {
		s := NewScreen(5)
		s.Write(tt.written)
		lines, long := s.Lines()
		if !slices.Equal(lines, tt.lines) || !slices.Equal(long, tt.long) || len(s.Faults) != tt.faults {
			t.Errorf("%s: %q, long %q, faults %q", tt.name, lines, long, s.Faults)
		}
	}
}
