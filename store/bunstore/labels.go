package bunstore

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"

	"github.com/incidentd/incidentd/store"
)

// metaLabelSet is the key in meta of the id of the label set in force.
const metaLabelSet = "label_set"

// labels is what the writer knows of categories: the set in force and the
// numbers of names. It is read again when another process has written and after
// every rollback.
type labels struct {
	current store.LabelSet
	numbers map[string]int64
	sets    map[string]store.LabelSet
}

// loadLabels returns the label set in force with the numbers of its names.
func (t *tx) loadLabels() (*labels, error) {
	if t.labels != nil {
		return t.labels, nil
	}
	l := &labels{numbers: make(map[string]int64), sets: make(map[string]store.LabelSet)}
	var id, encoded string
	err := t.row(selectLabelSet, []any{metaLabelSet}, &id, &encoded)
	if err != nil {
		return nil, err
	}
	if l.current, err = decodeLabelSet(id, encoded); err != nil {
		return nil, err
	}
	l.sets[id] = l.current
	t.labels = l
	return l, nil
}

const selectLabelSet = "SELECT l.id, l.categories FROM meta m JOIN label_sets l ON l.id = m.value WHERE m.key = ?"

func decodeLabelSet(id, encoded string) (store.LabelSet, error) {
	set := store.LabelSet{ID: id}
	if err := json.Unmarshal([]byte(encoded), &set.Categories); err != nil {
		return set, damaged("a label set", err)
	}
	return set, nil
}

// labelSet returns the label set of an id, the zero one when it never existed.
func (t *tx) labelSet(id string) (store.LabelSet, error) {
	l, err := t.loadLabels()
	if err != nil {
		return store.LabelSet{}, err
	}
	if set, ok := l.sets[id]; ok {
		return set, nil
	}
	var encoded string
	err = t.row("SELECT categories FROM label_sets WHERE id = ?", []any{id}, &encoded)
	if errors.Is(err, sql.ErrNoRows) {
		return store.LabelSet{}, nil
	}
	if err != nil {
		return store.LabelSet{}, err
	}
	set, err := decodeLabelSet(id, encoded)
	if err == nil {
		l.sets[id] = set
	}
	return set, err
}

// categoryNumber returns the number of a category, 0 for none.
func (t *tx) categoryNumber(name *string) (int64, error) {
	if name == nil {
		return 0, nil
	}
	l, err := t.loadLabels()
	if err != nil {
		return 0, err
	}
	if n, ok := l.numbers[*name]; ok {
		return n, nil
	}
	var n int64
	if err := t.row("SELECT id FROM categories WHERE name = ?", []any{*name}, &n); err != nil {
		return 0, err
	}
	l.numbers[*name] = n
	return n, nil
}

// labelSetID names exactly these categories.
func labelSetID(encoded []byte) string {
	sum := sha256.Sum256(encoded)
	return hex.EncodeToString(sum[:8])
}

// SetCategories replaces the label set; incidents keep their categories.
func (s *Store) SetCategories(ctx context.Context, categories []store.Category) (store.LabelSet, error) {
	var set store.LabelSet
	err := s.write(ctx, func(t *tx) (err error) {
		set, err = t.setCategories(categories)
		return err
	})
	if err != nil {
		return store.LabelSet{}, err
	}
	return set, nil
}

func (t *tx) setCategories(categories []store.Category) (store.LabelSet, error) {
	encoded, err := json.Marshal(categories)
	if err != nil {
		return store.LabelSet{}, err
	}
	id := labelSetID(encoded)
	t.labels = nil
	_, err = t.update("INSERT INTO label_sets (id, categories, created_at) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
		id, string(encoded), micros(t.now()))
	if err != nil {
		return store.LabelSet{}, err
	}
	for _, c := range categories {
		if _, err := t.update("INSERT INTO categories (name) VALUES (?) ON CONFLICT DO NOTHING", c.Name); err != nil {
			return store.LabelSet{}, err
		}
	}
	if err := t.setMeta(metaLabelSet, id); err != nil {
		return store.LabelSet{}, err
	}
	return decodeLabelSet(id, string(encoded))
}

// LabelSet returns the categories in force.
func (s *Store) LabelSet(ctx context.Context) (store.LabelSet, error) {
	var id, encoded string
	err := s.readers.QueryRowContext(ctx, selectLabelSet, metaLabelSet).Scan(&id, &encoded)
	if err != nil {
		return store.LabelSet{}, s.readError(ctx, err)
	}
	return decodeLabelSet(id, encoded)
}

// setMeta writes a value of meta.
func (t *tx) setMeta(key, value string) error {
	_, err := t.update("INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value", key, value)
	return err
}

// meta reads a value of meta, "" for none.
func (t *tx) meta(key string) (string, error) {
	var value string
	err := t.row("SELECT value FROM meta WHERE key = ?", []any{key}, &value)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	return value, err
}
