package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// object is what the API's methods take.
type object map[string]any

// api is a client of Zabbix's JSON-RPC API.
type api struct {
	r    *run
	url  string
	auth string // "" before the login
	id   int
}

// apiLimit bounds one request.
const apiLimit = 2 * time.Minute

// try calls a method; what it answers is decoded into result, which may be nil.
func (a *api) try(method string, params, result any) error {
	a.id++
	request := object{"jsonrpc": "2.0", "id": a.id, "method": method, "params": params}
	if a.auth != "" {
		request["auth"] = a.auth
	}
	body, err := json.Marshal(request)
	if err != nil {
		return fmt.Errorf("%s: %w", method, err)
	}
	client := http.Client{Timeout: apiLimit}
	resp, err := client.Post(a.url, "application/json-rpc", bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("%s: %w", method, err)
	}
	defer resp.Body.Close()
	return decodeReply(method, json.NewDecoder(resp.Body), result)
}

// decodeReply reads what the API answers.
func decodeReply(method string, d *json.Decoder, result any) error {
	var reply struct {
		Result json.RawMessage
		Error  *struct{ Message, Data string }
	}
	if err := d.Decode(&reply); err != nil {
		return fmt.Errorf("%s: the answer: %w", method, err)
	}
	if e := reply.Error; e != nil {
		return fmt.Errorf("%s: %s %s", method, strings.TrimSpace(e.Message), e.Data)
	}
	if result == nil {
		return nil
	}
	if err := json.Unmarshal(reply.Result, result); err != nil {
		return fmt.Errorf("%s: the answer %.200s: %w", method, reply.Result, err)
	}
	return nil
}

// call is try where nothing may go wrong.
func (a *api) call(method string, params, result any) {
	a.r.must(a.try(method, params, result))
}

func (a *api) version() (version string) {
	auth := a.auth
	a.auth = "" // this method refuses one
	defer func() { a.auth = auth }()
	a.call("apiinfo.version", object{}, &version)
	return version
}

// login is as the database's first user, whose session does not end while the demonstration runs.
func (a *api) login() {
	a.call("user.login", object{"username": adminName, "password": adminPassword}, &a.auth)
}

// The database's first user.
const (
	adminName     = "Admin"
	adminPassword = "zabbix"
)

// byIDs is how the API's create methods answer.
type byIDs struct {
	Hostids, Groupids []string
}
