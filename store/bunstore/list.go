package bunstore

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/incidentd/incidentd/store"
)

// position is the place of an incident in a list: its sort time (0 when the
// order is that of creation) and its id.
type position struct{ at, id int64 }

// listing is one list query in terms of the indexes.
//
// What incidents are filtered by is packed into their class, and each class has
// an index range in either order. A list is the merge of the ranges of the
// classes that it selects, of which the counters know which are not empty; so a
// page costs about as much as it is long, however many incidents there are and
// wherever in the order the selected ones lie.
type listing struct {
	tx         *readTx
	byUpdate   bool
	descending bool
	user       *int64
	// classes are the selected ones that are not empty; everything says that
	// these are all there are, selected how many incidents they have.
	classes    []int64
	everything bool
	selected   int
	// low and high are exclusive bounds of the ids.
	low, high int64
	after     *position
	// want is how many incidents to find: those to skip, the page, one more.
	want int
}

// Incidents returns a page.
func (s *Store) Incidents(ctx context.Context, q store.IncidentQuery) (store.Page[store.Incident], error) {
	var page store.Page[store.Incident]
	tx, err := s.beginRead(ctx)
	if err != nil {
		return page, err
	}
	defer tx.end()
	l, err := tx.listing(ctx, q)
	if err != nil {
		return page, s.readError(ctx, err)
	}
	found, err := l.find(ctx, parseText(q.Text))
	if err != nil {
		return page, s.readError(ctx, err)
	}
	found = found[min(q.Skip, len(found)):]
	if page.More = len(found) > q.Limit; page.More {
		found = found[:q.Limit]
	}
	page.Items, err = tx.incidents(ctx, found)
	return page, s.readError(ctx, err)
}

// listing works out what a query means in this state of the database.
func (tx *readTx) listing(ctx context.Context, q store.IncidentQuery) (*listing, error) {
	l := &listing{
		tx: tx, user: q.Scope.OwnerID, want: q.Skip + q.Limit + 1,
		byUpdate:   q.Sort == store.SortUpdatedAsc || q.Sort == store.SortUpdatedDesc,
		descending: q.Sort != store.SortCreatedAsc && q.Sort != store.SortUpdatedAsc,
	}
	if err := l.selectClasses(ctx, q); err != nil || len(l.classes) == 0 {
		return l, err
	}
	if err := l.bound(ctx, q); err != nil {
		return l, err
	}
	if q.After == nil {
		return l, nil
	}
	l.after = &position{id: q.After.ID}
	if l.byUpdate {
		l.after.at = micros(q.After.At)
	} else if l.descending {
		l.high = min(l.high, q.After.ID)
	} else {
		l.low = max(l.low, q.After.ID)
	}
	return l, nil
}

// selectClasses finds the classes that the filters select.
func (l *listing) selectClasses(ctx context.Context, q store.IncidentQuery) error {
	counts, err := l.tx.counted(ctx, q.Scope)
	if err != nil {
		return err
	}
	var names map[int64]string
	if len(q.Categories) > 0 {
		if names, err = l.tx.categoryNames(ctx); err != nil {
			return err
		}
	}
	for _, c := range counts {
		if selects(q, c.class, names) {
			l.classes = append(l.classes, c.class)
			l.selected += int(c.n)
		}
	}
	l.everything = len(l.classes) == len(counts) && l.user == nil
	return nil
}

// selects reports whether the filters of a query let a class pass.
func selects(q store.IncidentQuery, class int64, names map[int64]string) bool {
	if len(q.Statuses) > 0 && !slices.Contains(q.Statuses, statusIn(class)) ||
		len(q.States) > 0 && !slices.Contains(q.States, stateIn(class)) ||
		q.NeedsReview != nil && *q.NeedsReview != reviewIn(class) {
		return false
	}
	if len(q.Categories) == 0 && !q.Uncategorised {
		return true
	}
	category := categoryIn(class)
	if category == 0 {
		return q.Uncategorised
	}
	return slices.Contains(q.Categories, names[category])
}

// bound turns the times of creation into bounds of the ids, which rise with
// them.
func (l *listing) bound(ctx context.Context, q store.IncidentQuery) error {
	l.low, l.high = 0, 1<<62
	if q.CreatedAfter != nil {
		first, err := l.tx.firstCreated(ctx, micros(*q.CreatedAfter)+1)
		if err != nil {
			return err
		}
		l.low = first - 1
	}
	if q.CreatedBefore != nil {
		limit := micros(*q.CreatedBefore)
		if q.CreatedBefore.Truncate(time.Microsecond).Before(*q.CreatedBefore) {
			limit++
		}
		first, err := l.tx.firstCreated(ctx, limit)
		if err != nil {
			return err
		}
		l.high = first
	}
	return nil
}

// firstCreated returns the lowest id that was created at or after a time, 1<<62
// for none, by halving the range of ids.
func (tx *readTx) firstCreated(ctx context.Context, at int64) (int64, error) {
	var low, high int64
	err := tx.QueryRowContext(ctx, "SELECT coalesce((SELECT min(id) FROM incidents), 1), coalesce((SELECT max(id) FROM incidents), 0) + 1").Scan(&low, &high)
	if err != nil {
		return 0, err
	}
	found := int64(1 << 62)
	for low < high {
		middle := low + (high-low)/2
		var id, created int64
		err := tx.QueryRowContext(ctx, "SELECT id, created_at FROM incidents WHERE id >= ? ORDER BY id LIMIT 1", middle).Scan(&id, &created)
		if err != nil {
			return 0, err
		}
		if created >= at {
			found, high = id, middle
		} else {
			low = id + 1
		}
	}
	return found, nil
}

// find returns the first l.want incidents of the list, without their texts.
func (l *listing) find(ctx context.Context, q *textQuery) ([]position, error) {
	if len(l.classes) == 0 || l.low >= l.high-1 || q != nil && q.impossible {
		return nil, nil
	}
	if q == nil {
		return l.merge(ctx, l.after, l.want)
	}
	return l.search(ctx, q)
}

// maxArms is how many ranges one statement merges; SQLite takes 500.
const maxArms = 200

// merge returns the first limit incidents behind a position, without regard to
// words.
func (l *listing) merge(ctx context.Context, after *position, limit int) ([]position, error) {
	var merged []position
	var failed error
	for classes := range slices.Chunk(l.classes, maxArms) {
		query := l.mergeQuery(classes, after)
		if l.everything && !l.byUpdate {
			query = l.arm("incidents", "", after)
		}
		rows, err := l.positions(ctx, query+l.order()+fmt.Sprintf(" LIMIT %d", limit))
		if err != nil {
			failed = err
			break
		}
		merged = append(merged, rows...)
		if l.everything && !l.byUpdate {
			return merged, nil
		}
	}
	if len(l.classes) > maxArms {
		l.sort(merged)
		merged = merged[:min(len(merged), limit)]
	}
	return merged, failed
}

// narrow is how many ids lie between the bounds of a time of creation when
// reading and sorting them all is cheaper than walking the order of changes,
// in which they may lie anywhere.
const narrow = 100_000

// mergeQuery unites the ranges of classes. SQLite merges ordered ranges step by
// step and stops at the limit.
func (l *listing) mergeQuery(classes []int64, after *position) string {
	index := "incidents_class"
	if l.user != nil {
		index = "incidents_user_class"
	}
	if l.byUpdate && l.high-l.low <= narrow {
		where := "class IN (" + numbers(classes) + ") AND "
		if l.user != nil {
			where = fmt.Sprintf("user_id = %d AND ", *l.user) + where
		}
		return l.arm("incidents INDEXED BY "+index, where, after)
	}
	if l.byUpdate {
		index += "_updated"
	}
	arms := make([]string, len(classes))
	for n, class := range classes {
		where := fmt.Sprintf("class = %d AND ", class)
		if l.user != nil {
			where = fmt.Sprintf("user_id = %d AND ", *l.user) + where
		}
		arms[n] = l.arm("incidents INDEXED BY "+index, where, after)
	}
	return strings.Join(arms, " UNION ALL ")
}

// arm selects the positions of one range.
func (l *listing) arm(from, where string, after *position) string {
	at := "0"
	low, high := l.low, l.high
	if l.byUpdate {
		at = "updated_at"
	} else if after != nil && l.descending {
		high = min(high, after.id)
	} else if after != nil {
		low = max(low, after.id)
	}
	query := fmt.Sprintf("SELECT %s, id FROM %s WHERE %sid > %d AND id < %d", at, from, where, low, high)
	if after == nil || !l.byUpdate {
		return query
	}
	compare := ">"
	if l.descending {
		compare = "<"
	}
	return query + fmt.Sprintf(" AND updated_at %s= %d AND (updated_at %s %d OR id %s %d)", compare, after.at, compare, after.at, compare, after.id)
}

// order is the ORDER BY of positions.
func (l *listing) order() string {
	direction := ""
	if l.descending {
		direction = " DESC"
	}
	if l.byUpdate {
		return " ORDER BY 1" + direction + ", 2" + direction
	}
	return " ORDER BY 2" + direction
}

// sort brings positions into the order of the list.
func (l *listing) sort(rows []position) {
	slices.SortFunc(rows, func(a, b position) int {
		order := cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.id, b.id))
		if l.descending {
			return -order
		}
		return order
	})
}

// positions runs a query for positions.
func (l *listing) positions(ctx context.Context, query string, args ...any) ([]position, error) {
	rows, err := l.tx.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var found []position
	for rows.Next() {
		var p position
		if err := rows.Scan(&p.at, &p.id); err != nil {
			return nil, err
		}
		found = append(found, p)
	}
	return found, rows.Err()
}

// incidents reads the incidents at positions, in their order.
func (tx *readTx) incidents(ctx context.Context, at []position) ([]store.Incident, error) {
	if len(at) == 0 {
		return nil, nil
	}
	rows, err := tx.QueryContext(ctx, "SELECT "+incidentColumns+" FROM json_each(?) j CROSS JOIN incidents i ON i.id = j.value ORDER BY j.key", idList(at))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	incidents := make([]store.Incident, 0, len(at))
	for rows.Next() {
		row, err := scanIncident(rows.Scan)
		if err != nil {
			return nil, err
		}
		incidents = append(incidents, row.Incident)
	}
	return incidents, rows.Err()
}
