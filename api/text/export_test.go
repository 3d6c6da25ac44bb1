package text

// ComposeLong is the path for long runs of marks, to be compared with package
// norm on texts that both can do.
var ComposeLong = composeLong
