// Judges histories with Porcupine and says how long each took: the other side of compare.py.
//
// Arguments: how often a history is judged, for how many seconds at least, the timeout in seconds, then histories. Of
// the times the best is told, and at the end of each line the most memory that the process had, in KiB. Each history is
// MODEL:FILE; the model "whole" is the store without its partition. A file has an operation on each line: client, call,
// return (-1: never came back), name, two arguments and an output, separated by tabs. An operation that never came back
// returns after all others, and its output fits always, as Porcupine's own test of etcd has it.
package main

import (
	"bufio"
	"fmt"
	"hash/fnv"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"
)

const (
	never     = int64(1) << 62
	longRound = time.Second // what takes longer is not repeated
)

type input struct {
	name, a, b string
}

type output struct {
	value   string
	unknown bool
}

func digest(state interface{}) uint64 {
	hash := fnv.New64a()
	hash.Write([]byte(state.(string)))
	return hash.Sum64()
}

var register = porcupine.Model{
	Hash: digest,
	Init: func() interface{} { return "None" },
	Step: func(state, in, out interface{}) (bool, interface{}) {
		s, i, o := state.(string), in.(input), out.(output)
		switch i.name {
		case "read":
			return o.unknown || o.value == s, s
		case "write":
			return true, i.a
		}
		if s != i.a {
			return o.unknown || o.value == "False", s
		}
		return o.unknown || o.value == "True", i.b
	},
}

var store = porcupine.Model{
	Hash: digest,
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		byKey := map[string][]porcupine.Operation{}
		for _, operation := range history {
			key := operation.Input.(input).a
			byKey[key] = append(byKey[key], operation)
		}
		parts := [][]porcupine.Operation{}
		for _, part := range byKey {
			parts = append(parts, part)
		}
		return parts
	},
	Init: func() interface{} { return "" },
	Step: func(state, in, out interface{}) (bool, interface{}) {
		s, i, o := state.(string), in.(input), out.(output)
		switch i.name {
		case "get":
			return o.unknown || o.value == s, s
		case "put":
			return true, i.b
		}
		return true, s + i.b
	},
}

func read(path string) []porcupine.Operation {
	file, err := os.Open(path)
	if err != nil {
		panic(err)
	}
	defer file.Close()
	history := []porcupine.Operation{}
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<24)
	for lines.Scan() {
		field := strings.Split(lines.Text(), "\t")
		client, _ := strconv.Atoi(field[0])
		call, _ := strconv.ParseInt(field[1], 10, 64)
		back, _ := strconv.ParseInt(field[2], 10, 64)
		lost := back == -1
		if lost {
			back = never
		}
		history = append(history, porcupine.Operation{
			ClientId: client,
			Input:    input{field[3], field[4], field[5]},
			Call:     call,
			Output:   output{field[6], lost},
			Return:   back,
		})
	}
	return history
}

// whole is the store without its partition: all keys are one state.
var whole = porcupine.Model{
	Init: func() interface{} { return map[string]string{} },
	Step: func(state, in, out interface{}) (bool, interface{}) {
		s, i, o := state.(map[string]string), in.(input), out.(output)
		if i.name == "get" {
			return o.unknown || o.value == s[i.a], s
		}
		after := make(map[string]string, len(s)+1)
		for key, value := range s {
			after[key] = value
		}
		if i.name == "put" {
			after[i.a] = i.b
		} else {
			after[i.a] += i.b
		}
		return true, after
	},
	Equal: func(left, right interface{}) bool {
		l, r := left.(map[string]string), right.(map[string]string)
		if len(l) != len(r) {
			return false
		}
		for key, value := range l {
			if other, ok := r[key]; !ok || other != value {
				return false
			}
		}
		return true
	},
	Hash: func(state interface{}) uint64 {
		mixed := uint64(0)
		for key, value := range state.(map[string]string) {
			mixed ^= digest(key + "\x00" + value)
		}
		return mixed
	},
}

// What the kernel counts as ru_maxrss begins with what the parent had.
func peakKiB() string {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		panic(err)
	}
	_, after, _ := strings.Cut(string(status), "VmHWM:")
	return strings.Fields(after)[0]
}

func main() {
	rounds, err := strconv.Atoi(os.Args[1])
	if err != nil {
		panic(err)
	}
	least, err := strconv.ParseFloat(os.Args[2], 64)
	if err != nil {
		panic(err)
	}
	seconds, err := strconv.ParseFloat(os.Args[3], 64)
	if err != nil {
		panic(err)
	}
	timeout := time.Duration(seconds * float64(time.Second))
	models := map[string]porcupine.Model{"register": register, "store": store, "whole": whole}
	for _, argument := range os.Args[4:] {
		model, path, _ := strings.Cut(argument, ":")
		history := read(path)
		best := time.Duration(1 << 62)
		verdict := porcupine.Unknown
		begun := time.Now()
		for round := 0; round < rounds || time.Since(begun).Seconds() < least; round++ {
			started := time.Now()
			verdict = porcupine.CheckOperationsTimeout(models[model], history, timeout)
			took := time.Since(started)
			if took < best {
				best = took
			}
			if took > longRound {
				break
			}
		}
		took := float64(best.Nanoseconds()) / 1e6
		fmt.Printf("%s\t%s\t%.4f\t%s\n", path, verdict, took, peakKiB())
	}
}
