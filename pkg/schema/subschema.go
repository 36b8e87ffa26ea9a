package schema

func (s *Schema) Subschema() []Values { panic("todo") }

// Values are one attribute's values in their printed form.
type Values struct {
	Name   string
	Values []string
}
