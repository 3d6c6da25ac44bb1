package models

import "slices"

// Preset is a model that is known to run: where it is on the hub and which of its files are needed.
type Preset struct {
	Name        string
	Repository  string
	Revision    string // a commit, so that what is pulled never changes
	Files       []PresetFile
	Description string
	License     string
}

// PresetFile is one file of a preset. External data that the model file names is pulled without being listed.
type PresetFile struct {
	Path string
	// SHA256 pins the content beyond the commit; empty = the hub's own hash decides and is recorded.
	SHA256 string
}

// Presets returns the known models.
func Presets() []Preset {
	return slices.Clone(presets)
}

var presets = []Preset{
	{
		Name:       "xlm-roberta-large-xnli",
		Repository: "xavierbarbier/xlm-roberta-large-xnli",
		Revision:   "38fda542725bea9ea444e3fa7872508db237a495",
		Files: []PresetFile{
			{Path: "config.json"}, {Path: "tokenizer.json"}, {Path: "onnx/model_quantized.onnx"},
		},
		Description: "24 x 1024, int8, 0.6 GB: the most accurate of the three-class models, 100 languages",
		License:     "MIT",
	},
	{
		Name:       "multilingual-minilmv2-l6-mnli-xnli",
		Repository: "MoritzLaurer/multilingual-MiniLMv2-L6-mnli-xnli",
		Revision:   "0a71e92a985b6e1ad1828cf67ce9c459639c1dca",
		Files: []PresetFile{
			{Path: "onnx/config.json"}, {Path: "onnx/tokenizer.json"}, {Path: "onnx/model.onnx"},
		},
		Description: "6 x 384, fp32, 0.4 GB: small and fast, 100 languages",
		License:     "MIT",
	},
	{
		Name:       "bge-m3-zeroshot-v2.0",
		Repository: "MoritzLaurer/bge-m3-zeroshot-v2.0",
		Revision:   "main",
		Files: []PresetFile{
			{Path: "onnx/config.json"}, {Path: "onnx/tokenizer.json"}, {Path: "onnx/model.onnx"},
		},
		Description: "24 x 1024, fp32, 2.3 GB: texts of up to 8,192 tokens, two classes",
		License:     "MIT",
	},
}

func presetByName(name string) (Preset, bool) {
	i := slices.IndexFunc(presets, func(p Preset) bool { return p.Name == name })
	if i < 0 {
		return Preset{}, false
	}
	return presets[i], true
}
