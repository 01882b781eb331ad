// Package output holds how the commands of kubectl federate print: tables, sheets, trees and standard formats on
// stdout; progress, warnings and errors on stderr. What comes from a cluster is made safe for a terminal here.
package output
