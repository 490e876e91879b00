package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"time"
)

// usage is what a process has used of the machine, from Linux's /proc.
type usage struct {
	at  time.Time
	cpu time.Duration // user and system time of all its threads since it began, in steps of 10 ms
}

// clockTick is the unit of times in /proc/<pid>/stat, the same on every Linux that Go runs on.
const clockTick = 10 * time.Millisecond

func usageOf(pid int) (usage, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return usage{}, fmt.Errorf("read the CPU time of process %d: %w", pid, err)
	}
	at := time.Now()
	// The second field is the name in parentheses, which may hold spaces; utime and stime are fields 14 and 15.
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 13 {
		return usage{}, fmt.Errorf("read the CPU time of process %d: %d fields in /proc", pid, len(fields))
	}
	var ticks int64
	for _, field := range fields[11:13] {
		n, err := strconv.ParseInt(string(field), 10, 64)
		if err != nil {
			return usage{}, fmt.Errorf("read the CPU time of process %d: %w", pid, err)
		}
		ticks += n
	}
	return usage{at: at, cpu: time.Duration(ticks) * clockTick}, nil
}

// percentSince is the CPU used since before, in percent of one core.
func (u usage) percentSince(before usage) float64 {
	return 100 * float64(u.cpu-before.cpu) / float64(u.at.Sub(before.at))
}

// memory is the resident memory of a process in MB (a million bytes), now and at most.
type memory struct{ now, peak float64 }

func memoryOf(pid int) (memory, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return memory{}, fmt.Errorf("read the memory of process %d: %w", pid, err)
	}
	var m memory
	for line := range bytes.Lines(status) {
		name, rest, _ := bytes.Cut(line, []byte(":"))
		value := &m.now
		switch string(name) {
		case "VmRSS":
		case "VmHWM":
			value = &m.peak
		default:
			continue
		}
		kib, err := strconv.ParseFloat(string(bytes.Fields(rest)[0]), 64)
		if err != nil {
			return memory{}, fmt.Errorf("read the memory of process %d: %w", pid, err)
		}
		*value = kib * 1024 / 1e6
	}
	return m, nil
}

// meter measures the processes of a trial over a stretch of time.
type meter struct {
	t      *trial
	pids   map[string]int
	before map[string]usage
}

// startMeter begins the stretch.
func startMeter(t *trial, pids map[string]int) *meter {
	m := &meter{t: t, pids: pids}
	m.before = m.read()
	return m
}

func (m *meter) read() map[string]usage {
	all := map[string]usage{}
	for name, pid := range m.pids {
		u, err := usageOf(pid)
		m.t.check("measure "+name, err)
		all[name] = u
	}
	return all
}

// cpu is what each process has used since the beginning of the stretch, in percent of one core.
func (m *meter) cpu() map[string]float64 {
	percent := map[string]float64{}
	for name, u := range m.read() {
		percent[name] = u.percentSince(m.before[name])
	}
	return percent
}
