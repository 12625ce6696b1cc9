package azureclass

import (
	"errors"
	"fmt"
	"strings"
)

// Problem is one thing that is wrong with a class, or ignored in it.
type Problem struct {
	// Param is the parameter that it is about.
	Param string
	// Object counts the entries of the array from 0; -1 if it is about none of them.
	Object int
	// Field is that of the object, "" for the object itself.
	Field string
	// Text says what is wrong, and what to do.
	Text string
}

// flaw is an error with its place.
type flaw struct {
	Problem
	err error
}

func (f *flaw) Error() string { return f.err.Error() }
func (f *flaw) Unwrap() error { return f.err }

// ofParam is an error about a parameter.
func ofParam(param string, err error) error {
	return &flaw{Problem{Param: param, Object: -1}, err}
}

// ofField is an error about a field of an object.
func ofField(field string, err error) error {
	return &flaw{Problem{Param: paramObjects, Field: field}, err}
}

// Check is [Parse] for those who look for what is wrong: everything at once, with the
// place of each. If there is something, the class is what could be read.
func Check(params map[string]string) (c *Class, wrong, warnings []Problem) {
	c = read(params)
	note := func(err error) {
		if err != nil {
			wrong = append(wrong, problemOf(err))
		}
	}
	note(c.parseMode(getter(params)))
	note(c.checkNeeded())
	note(c.parseStaleIfError(getter(params)(paramStaleIfError)))
	note(c.CheckLogin())
	if c.Vault != "" {
		note(c.CheckVault())
	}
	note(CheckCloud(c.Cloud))
	for _, w := range c.Warnings { // so far they are about parameters
		warnings = append(warnings, Problem{Param: paramTenantOld, Object: -1, Text: w})
	}
	more, ignored := c.checkObjects()
	return c, append(wrong, more...), append(warnings, ignored...)
}

// checkObjects does what [Class.ParseObjects] does, and does not stop.
func (c *Class) checkObjects() (wrong, warnings []Problem) {
	texts, err := c.entries()
	if err != nil {
		return []Problem{problemOf(err)}, nil
	}
	files := map[string]int{}
	for i, text := range texts {
		o, err := parseObject(i, text)
		if err != nil {
			p := problemOf(err)
			p.Object = i
			wrong = append(wrong, p)
			continue
		}
		before := len(c.Warnings)
		c.warn(i, o, files)
		for _, w := range c.Warnings[before:] {
			warnings = append(warnings, Problem{Param: paramObjects, Object: i, Text: w})
		}
		c.Objects = append(c.Objects, o)
	}
	return wrong, warnings
}

func problemOf(err error) Problem {
	p := Problem{Param: paramObjects, Object: -1}
	p.Text = err.Error()
	if f, ok := errors.AsType[*flaw](err); ok {
		p = f.Problem
		p.Text = f.Error()
	}
	return p
}

// CheckCloud says whether a cloud can be called so. "" is the provider's.
func CheckCloud(name string) error {
	switch strings.ToUpper(name) {
	case "", "AZUREPUBLICCLOUD", "AZURECLOUD", "AZUREUSGOVERNMENTCLOUD", "AZUREUSGOVERNMENT", "AZURECHINACLOUD", "AZUREGERMANCLOUD", "AZURESTACKCLOUD":
		return nil
	}
	return ofParam(paramCloud, fmt.Errorf("cloudName %.60q is not valid: there are AzurePublicCloud, AzureUSGovernmentCloud, AzureChinaCloud, "+
		"AzureGermanCloud and AzureStackCloud", name))
}
