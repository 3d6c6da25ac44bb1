package bunstore

import (
	"bytes"
	"cmp"
	"context"
	"slices"
	"strings"
	"unicode/utf8"
)

// wording is a change of the words of an incident.
type wording struct {
	id     int64
	add    bool
	tokens string
}

func (t *tx) addWords(id int64, tokens string) {
	t.words = append(t.words, wording{id, true, tokens})
}

func (t *tx) removeWords(id int64, tokens string) {
	t.words = append(t.words, wording{id, false, tokens})
}

// flushWords writes the changes of words. The index buffers them as long as
// ids rise; for one incident the order stays.
func (t *tx) flushWords() error {
	slices.SortStableFunc(t.words, func(a, b wording) int { return cmp.Compare(a.id, b.id) })
	for _, w := range t.words {
		query := "INSERT INTO words (rowid, text) VALUES (?, ?)"
		if !w.add {
			query = "INSERT INTO words (words, rowid, text) VALUES ('delete', ?, ?)"
		}
		if err := t.exec(query, w.id, w.tokens); err != nil {
			return err
		}
	}
	return nil
}

// maxTerms is how many terms of a query the index is asked for; further ones
// are looked for in the texts.
const maxTerms = 32

// textQuery is a search text that was understood: all of its words must be in
// an incident.
type textQuery struct {
	// match is the expression for the index: terms that all must be there.
	match string
	// patterns are the folded words.
	patterns [][]byte
	// verify: what the index finds must be looked at, because a word has several
	// units, a run more than two characters, or there are too many terms.
	verify bool
	// impossible: a word has nothing that is searched for.
	impossible bool
}

// parseText reads a search text; nil when it is blank. Whitespace separates
// words; nothing in a word has a meaning.
func parseText(text string) *textQuery {
	words := strings.Fields(text)
	if len(words) == 0 {
		return nil
	}
	q := &textQuery{}
	var terms []string
	for _, word := range words {
		pattern := fold(nil, word)
		if len(pattern) == 0 {
			q.impossible = true
			return q
		}
		q.patterns = append(q.patterns, pattern)
		var units int
		eachUnit(pattern, func(mark byte, unit []byte) {
			units++
			found, exact := termsOf(mark, unit)
			terms = append(terms, found...)
			q.verify = q.verify || !exact
		})
		q.verify = q.verify || units > 1
	}
	slices.Sort(terms)
	terms = slices.Compact(terms)
	if len(terms) > maxTerms {
		terms, q.verify = terms[:maxTerms], true
	}
	q.match = `"` + strings.Join(terms, `" "`) + `"`
	return q
}

// termsOf returns the terms that find a unit, and whether they find nothing
// else.
func termsOf(mark byte, unit []byte) (terms []string, exact bool) {
	if mark == markWord {
		return []string{string(cutToken(unit))}, len(unit) <= maxToken
	}
	characters := utf8.RuneCount(unit)
	if characters == 1 {
		return []string{string(unit)}, true
	}
	for range characters - 1 {
		_, size := utf8.DecodeRune(unit)
		_, next := utf8.DecodeRune(unit[size:])
		terms = append(terms, string(unit[:size+next]))
		unit = unit[size:]
	}
	return terms, characters == 2
}

// in reports whether all words are in the texts.
func (q *textQuery) in(title, description string) bool {
	folded := foldIncident(title, description)
	for _, p := range q.patterns {
		if !contains(folded, p) {
			return false
		}
	}
	return true
}

// contains reports whether the units of a pattern stand in a folded text one
// after the other: whole words, but runs may begin and end inside longer ones.
func contains(folded, pattern []byte) bool {
	lastWord := pattern[bytes.LastIndexFunc(pattern, func(r rune) bool { return r <= markText })] == markWord
	if pattern[0] == markRun {
		pattern = pattern[1:]
	}
	for {
		n := bytes.Index(folded, pattern)
		if n < 0 {
			return false
		}
		rest := folded[n+len(pattern):]
		if !lastWord || len(rest) == 0 || rest[0] <= markText {
			return true
		}
		folded = rest
	}
}

// rareMatches is how many matches are simply all read and sorted.
const rareMatches = 2000

// dense is the share of matching incidents above which walking the order and
// looking at the texts is cheaper than asking the index for all matches.
const dense = 0.04

// search returns the first l.want incidents of the list that contain the
// words. Few selected incidents are all looked at; few matches are all sorted;
// of many matches, those first in the order are found by walking it, with the
// index asked for all matches if they are too thin on the ground for that.
func (l *listing) search(ctx context.Context, q *textQuery) ([]position, error) {
	if !l.everything && l.selected <= rareMatches {
		found, _, err := l.walk(ctx, q, nil, l.selected)
		return found, err
	}
	if l.everything && !l.byUpdate {
		return l.matchesInOrder(ctx, q)
	}
	matches, err := l.matches(ctx, q, l.low, l.high, rareMatches)
	if err != nil {
		return nil, err
	}
	if all := len(matches) < rareMatches; all || !l.byUpdate {
		found, err := l.sorted(ctx, q, matches)
		if err != nil || all || len(found) == l.want {
			return found, err
		}
	}
	first, last := matches[0], matches[len(matches)-1]
	if share := float64(len(matches)) / float64(max(first-last, last-first)); share >= dense {
		found, done, err := l.walk(ctx, q, nil, 2*int(float64(l.want)/share)+rareMatches)
		if err != nil || done {
			return found, err
		}
	}
	if !l.byUpdate {
		return l.matchesInOrder(ctx, q)
	}
	if matches, err = l.matches(ctx, q, l.low, l.high, -1); err != nil {
		return nil, err
	}
	if steps := l.want * l.selected / len(matches); steps > 2*len(matches) {
		return l.sorted(ctx, q, matches)
	}
	set := &bitmap{}
	for _, id := range matches {
		set.add(id)
	}
	found, _, err := l.walk(ctx, q, set, l.selected)
	return found, err
}

// matchesInOrder walks the matches in the order of creation, which is that of
// the index.
func (l *listing) matchesInOrder(ctx context.Context, q *textQuery) ([]position, error) {
	var found []position
	low, high := l.low, l.high
	for step := max(l.want, 128); ; step = min(4*step, 8192) {
		ids, err := l.matches(ctx, q, low, high, step)
		if err != nil {
			return nil, err
		}
		more := len(ids) == step
		if more && l.descending {
			high = ids[len(ids)-1]
		} else if more {
			low = ids[len(ids)-1]
		}
		rows, err := l.filter(ctx, ids, false)
		if err != nil {
			return nil, err
		}
		if rows, err = l.verified(ctx, q, rows, q.verify); err != nil {
			return nil, err
		}
		found = append(found, rows...)
		if len(found) >= l.want || !more {
			return found[:min(len(found), l.want)], nil
		}
	}
}

// sorted brings the selected ones of matches into the order of the list.
func (l *listing) sorted(ctx context.Context, q *textQuery, ids []int64) ([]position, error) {
	rows, err := l.filter(ctx, ids, true)
	if err != nil {
		return nil, err
	}
	if rows, err = l.verified(ctx, q, rows, q.verify); err != nil {
		return nil, err
	}
	l.sort(rows)
	return rows[:min(len(rows), l.want)], nil
}

// walk goes through the list in its order without the words, in steps, and
// keeps what contains them, until it has enough, the list ends or it has seen
// limit rows; done is false in the last case. If set is given, only its members
// are looked at.
func (l *listing) walk(ctx context.Context, q *textQuery, set *bitmap, limit int) (found []position, done bool, err error) {
	const small, big = 512, 4096
	step := small
	if set != nil {
		step = big
	}
	after := l.after
	for seen := 0; seen <= limit; seen += step {
		rows, err := l.merge(ctx, after, step)
		if err != nil {
			return nil, false, err
		}
		more := len(rows) == step
		if more {
			after = &rows[len(rows)-1]
		}
		if set != nil {
			rows = slices.DeleteFunc(slices.Clone(rows), func(p position) bool { return !set.has(p.id) })
		}
		if rows, err = l.verified(ctx, q, rows, set == nil || q.verify); err != nil {
			return nil, false, err
		}
		found = append(found, rows...)
		if len(found) >= l.want || !more {
			return found[:min(len(found), l.want)], true, nil
		}
	}
	return found, false, nil
}
