package configs

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Size is a number of bytes. It is written as a whole number, alone or with
// KiB, MiB or GiB.
type Size int64

// String writes the size with the largest unit that leaves a whole number.
func (s Size) String() string {
	for _, u := range units() {
		if s != 0 && int64(s)%u.bytes == 0 {
			return strconv.FormatInt(int64(s)/u.bytes, 10) + u.name
		}
	}
	return strconv.FormatInt(int64(s), 10)
}

type unit struct {
	name  string
	bytes int64
}

func units() []unit { return []unit{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}} }

func parseSize(text string) (Size, string) {
	factor, digits := int64(1), text
	for _, u := range units() {
		if number, ok := strings.CutSuffix(text, u.name); ok {
			factor, digits = u.bytes, strings.TrimSpace(number)
			break
		}
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n < 0 || n > math.MaxInt64/factor {
		return 0, fmt.Sprintf("%s is not a size like 512MiB", quoted(text))
	}
	return Size(n * factor), ""
}

// value is what a source says about a setting: one text, or a list.
type value struct {
	text   string
	list   []string
	isList bool
}

// assign puts a value into a field and returns what is wrong with it, or "".
func assign(field any, v value) string {
	if list, ok := field.(*[]string); ok {
		*list = v.items()
		return ""
	}
	if v.isList {
		return "is a list; one value is wanted"
	}
	switch f := field.(type) {
	case *string:
		*f = v.text
	case *Secret:
		*f = Secret(v.text)
	case *bool:
		return assignBool(f, v.text)
	case *int:
		n, err := strconv.Atoi(v.text)
		if err != nil {
			return fmt.Sprintf("%s is not a whole number", quoted(v.text))
		}
		*f = n
	case *time.Duration:
		d, err := time.ParseDuration(v.text)
		if err != nil {
			return fmt.Sprintf("%s is not a duration like 15s or 2m30s", quoted(v.text))
		}
		*f = d
	case *Size:
		size, message := parseSize(v.text)
		if message != "" {
			return message
		}
		*f = size
	default:
		panic(fmt.Sprintf("configs: no notation for %T", field))
	}
	return ""
}

func assignBool(f *bool, text string) string {
	switch strings.ToLower(text) {
	case "true", "1", "yes", "on":
		*f = true
	case "false", "0", "no", "off":
		*f = false
	default:
		return fmt.Sprintf("%s is neither true nor false", quoted(text))
	}
	return ""
}

// items splits a comma list; blanks around the commas do not count.
func (v value) items() []string {
	list := v.list
	if !v.isList {
		list = strings.Split(v.text, ",")
	}
	var items []string
	for _, item := range list {
		if item = strings.TrimSpace(item); item != "" || v.isList {
			items = append(items, item)
		}
	}
	return items
}

// render writes a field in the notation of the environment.
func render(field any) string {
	switch f := field.(type) {
	case *string:
		return *f
	case *Secret:
		return f.String()
	case *bool:
		return strconv.FormatBool(*f)
	case *int:
		return strconv.Itoa(*f)
	case *time.Duration:
		return f.String()
	case *Size:
		return f.String()
	case *[]string:
		return strings.Join(*f, ",")
	}
	panic(fmt.Sprintf("configs: no notation for %T", field))
}

// maxShown is how much of a value a message repeats, in bytes.
const maxShown = 80

// quoted shows a value in a message, on one line and not too long.
func quoted(text string) string {
	if len(text) > maxShown {
		return strconv.Quote(text[:maxShown]) + "…"
	}
	return strconv.Quote(text)
}
