package cluster

import (
	"fmt"
	"math"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// enoughMemory says that this process may read more: what it holds is within five eighths of its memory limit (GOMEMLIMIT). The
// rest is for what one more response takes while it is decoded, and for garbage: where little more than what is held is left,
// collecting it takes so much time that Go gives it up, and goes beyond the limit. One response is bounded by its size; what many of
// them leave is not, and each byte may take many of memory.
func enoughMemory() error {
	limit := debug.SetMemoryLimit(-1)
	if limit == math.MaxInt64 {
		return nil
	}
	enough := limit / 8 * 5
	if held() <= enough {
		return nil
	}
	if runtime.GC(); held() <= enough {
		return nil
	}
	return &TooLarge{What: fmt.Sprintf("what was read so far fills %s; to read more, set GOMEMLIMIT=1GiB in the environment", size(int(enough)))}
}

// held is how many bytes of objects the process holds, with garbage.
func held() int64 {
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(sample)
	return int64(sample[0].Value.Uint64())
}
