package bunstore

import (
	"context"
	"fmt"
	"strconv"
	"strings"
)

// matches asks the index for the ids of incidents with the terms, in the order
// of creation, between exclusive bounds; all of them if the limit is negative.
func (l *listing) matches(ctx context.Context, q *textQuery, low, high int64, limit int) ([]int64, error) {
	direction := ""
	if l.descending {
		direction = "DESC"
	}
	list, err := l.list(ctx, fmt.Sprintf(`SELECT group_concat(id) FROM (SELECT rowid AS id FROM words
		WHERE words MATCH ? AND rowid > ? AND rowid < ? ORDER BY rowid %s LIMIT ?)`, direction), q.match, low, high, limit)
	if err != nil {
		return nil, err
	}
	ids := make([]int64, 0, max(limit, 0))
	err = eachID(list, func(id int64) { ids = append(ids, id) })
	return ids, err
}

// list reads one text; a list of ids in one text is read many times faster
// than row by row.
func (l *listing) list(ctx context.Context, query string, args ...any) (string, error) {
	var list *string
	if err := l.tx.QueryRowContext(ctx, query, args...).Scan(&list); err != nil || list == nil {
		return "", err
	}
	return *list, nil
}

// eachID calls f for each id of a list separated by commas.
func eachID(list string, f func(int64)) error {
	for list != "" {
		var id string
		id, list, _ = strings.Cut(list, ",")
		n, err := strconv.ParseInt(id, 10, 64)
		if err != nil {
			return damaged("a list of ids", err)
		}
		f(n)
	}
	return nil
}

// numbers is a list separated by commas.
func numbers(list []int64) string {
	var b []byte
	for _, n := range list {
		b = append(strconv.AppendInt(b, n, 10), ',')
	}
	return string(b[:max(0, len(b)-1)])
}

// idList is the ids of positions as a JSON array.
func idList(at []position) string {
	b := make([]byte, 1, 10*len(at)+2)
	b[0] = '['
	for n, p := range at {
		if n > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(b, p.id, 10)
	}
	return string(append(b, ']'))
}

// filter keeps those ids whose incidents the filters select, as positions
// behind l.after, in the order given. Times are read only if wanted.
func (l *listing) filter(ctx context.Context, ids []int64, times bool) ([]position, error) {
	rows := make([]position, len(ids))
	for n, id := range ids {
		rows[n].id = id
	}
	if l.everything && !times || len(ids) == 0 {
		return rows, nil
	}
	at := "0"
	where := []string{"true"}
	if l.byUpdate {
		at = "i.updated_at"
	}
	if l.user != nil {
		where = append(where, fmt.Sprintf("i.user_id = %d", *l.user))
	}
	if !l.everything {
		where = append(where, "i.class IN ("+numbers(l.classes)+")")
	}
	rows, err := l.positions(ctx, "SELECT "+at+", i.id FROM json_each(?) j CROSS JOIN incidents i ON i.id = j.value WHERE "+
		strings.Join(where, " AND ")+" ORDER BY j.key", idList(rows))
	if err != nil || l.after == nil || !l.byUpdate {
		return rows, err
	}
	kept := rows[:0]
	for _, p := range rows {
		before := p.at < l.after.at || p.at == l.after.at && p.id < l.after.id
		if p != *l.after && before == l.descending {
			kept = append(kept, p)
		}
	}
	return kept, nil
}

// verified keeps those rows whose texts really contain the words, if they must
// be looked at.
func (l *listing) verified(ctx context.Context, q *textQuery, rows []position, look bool) ([]position, error) {
	if !look || len(rows) == 0 {
		return rows, nil
	}
	texts, err := l.tx.QueryContext(ctx, "SELECT j.key, i.title, i.description FROM json_each(?) j CROSS JOIN incidents i ON i.id = j.value ORDER BY j.key", idList(rows))
	if err != nil {
		return nil, err
	}
	defer texts.Close()
	kept := make([]position, 0, len(rows))
	for texts.Next() {
		var n int
		var title, description string
		if err := texts.Scan(&n, &title, &description); err != nil {
			return nil, err
		}
		if q.in(title, description) {
			kept = append(kept, rows[n])
		}
	}
	return kept, texts.Err()
}

// bitmap is a set of ids.
type bitmap struct{ bits []uint64 }

func (b *bitmap) add(id int64) {
	word := int(id >> 6)
	if word >= len(b.bits) {
		b.bits = append(b.bits, make([]uint64, word+1-len(b.bits)+len(b.bits)/2)...)
	}
	b.bits[word] |= 1 << (id & 63)
}

func (b *bitmap) has(id int64) bool {
	word := int(id >> 6)
	return word < len(b.bits) && b.bits[word]&(1<<(id&63)) != 0
}
