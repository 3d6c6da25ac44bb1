package strictjson

// Peek is the first byte of the next value.
func (d *Decoder) Peek() byte { return d.doc[d.pos] }

// AtEnd reports whether the whole document has been read.
func (d *Decoder) AtEnd() bool { return d.pos == len(d.doc) }
