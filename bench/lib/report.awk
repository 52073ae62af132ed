# Makes the tables of the report.  Reads, by these names and in this order:
# cases.tsv marks.tsv results.tsv factmarks.tsv facts.tsv series.tsv.

function with_commas(number, digits, text, whole, tail)
{
	text = sprintf("%." digits "f", number)
	whole = text
	tail = ""
	if (index(text, ".")) {
		whole = substr(text, 1, index(text, ".") - 1)
		tail = substr(text, index(text, "."))
	}
	while (match(whole, /[0-9][0-9][0-9][0-9]($|,)/))
		whole = substr(whole, 1, RSTART) "," substr(whole, RSTART + 1)
	return whole tail
}

# A figure with about three digits that mean something.
function figure(number)
{
	if (number == int(number) || number >= 100)
		return with_commas(number, 0)
	return sprintf(number >= 10 ? "%.1f" : "%.2f", number)
}

# The median of the values that were added under a key.
function median(key, n, i, j, swap, sorted)
{
	n = count[key]
	for (i = 1; i <= n; i++)
		sorted[i] = value[key, i]
	for (i = 2; i <= n; i++)
		for (j = i; j > 1 && sorted[j - 1] > sorted[j]; j--) {
			swap = sorted[j]
			sorted[j] = sorted[j - 1]
			sorted[j - 1] = swap
		}
	if (n == 0)
		return ""
	return n % 2 ? sorted[(n + 1) / 2] : (sorted[n / 2] + sorted[n / 2 + 1]) / 2
}

function add(key, number)
{
	value[key, ++count[key]] = number + 0
}

# Remembers an item once, in the order of first sight.
function remember(list, item)
{
	if (!((list, item) in seen)) {
		seen[list, item] = 1
		member[list, ++length_of[list]] = item
	}
}

function verdict(good)
{
	if (!good)
		missed++
	return good ? "yes" : "**no**"
}

BEGIN { FS = "\t" }

FILENAME ~ /cases\.tsv$/ {
	remember("cases", $1)
	title[$1] = $2
}
FILENAME ~ /\/marks\.tsv$/ {
	base[$1, $2] = $3
	mark[$1, $2] = $4
	goal[$1, $2] = $5
}
FILENAME ~ /results\.tsv$/ {
	remember("systems of " $1, $2)
	for (i = 4; i <= 8; i++)
		add($1 SUBSEP $2 SUBSEP i, $i)
}
FILENAME ~ /factmarks\.tsv$/ {
	relation[$1, $2] = $3
	limit[$1, $2] = $4
	fact_goal[$1, $2] = $5
}
FILENAME ~ /\/facts\.tsv$/ {
	remember("facts", $1)
	remember("systems of fact " $1, $2)
	add("fact" SUBSEP $1 SUBSEP $2, $3)
}
FILENAME ~ /series\.tsv$/ {
	remember("series", $1)
	remember("systems of series " $1, $2)
	if ($3 > windows[$1])
		windows[$1] = $3
	add("series" SUBSEP $1 SUBSEP $2 SUBSEP $3, $4)
}

function rate_row(case_name, who, key, cells, ratio)
{
	key = case_name SUBSEP who SUBSEP
	cells = sprintf("| %s | %s | %s | %.2f | %.2f | %s | %s |", title[case_name], who,
		with_commas(median(key 4), 0), median(key 5), median(key 6),
		figure(median(key 7)), figure(median(key 8)))
	if (!((case_name, who) in mark))
		return cells " | | | |"

	ratio = median(case_name SUBSEP base[case_name, who] SUBSEP 4)
	if (ratio == "" || ratio == 0)
		return cells " ? | | | |"
	ratio = median(key 4) / ratio
	return sprintf("%s %.2fx %s | %s | %s | %s |", cells, ratio, base[case_name, who],
		mark[case_name, who] "x", goal[case_name, who] "x",
		verdict(ratio >= mark[case_name, who]))
}

function rates(i, j, name)
{
	print "| workload | system | jobs/s | p50 ms | p99 ms | WAL B/job | CPU µs/job | ratio to | mark | goal | met |"
	print "|---|---|--:|--:|--:|--:|--:|---|--:|--:|---|"
	for (i = 1; i <= length_of["cases"]; i++) {
		name = member["cases", i]
		for (j = 1; j <= length_of["systems of " name]; j++)
			print rate_row(name, member["systems of " name, j])
	}
}

function holds(number, how, bound)
{
	return how == "<" ? number < bound : how == "<=" ? number <= bound : number >= bound
}

function facts(i, j, name, who, middle, cells)
{
	print "\n| figure | system | median | mark | goal | met |"
	print "|---|---|--:|--:|--:|---|"
	for (i = 1; i <= length_of["facts"]; i++) {
		name = member["facts", i]
		for (j = 1; j <= length_of["systems of fact " name]; j++) {
			who = member["systems of fact " name, j]
			middle = median("fact" SUBSEP name SUBSEP who)
			cells = " | | |"
			if ((name, who) in limit)
				cells = sprintf(" %s %s | %s | %s |", relation[name, who],
					figure(limit[name, who] + 0), fact_goal[name, who],
					verdict(holds(middle, relation[name, who], limit[name, who] + 0)))
			printf "| %s | %s | %s |%s\n", name, who, figure(middle), cells
		}
	}
}

function series(i, j, w, name, who, cells)
{
	for (i = 1; i <= length_of["series"]; i++) {
		name = member["series", i]
		printf "\n%s\n\n", title[name] ", jobs/s in each 10 s"
		cells = "| system |"
		for (w = 1; w <= windows[name]; w++)
			cells = cells sprintf(" %d-%d |", (w - 1) * 10, w * 10)
		print cells
		gsub(/[^|]+/, "--:", cells)
		print cells
		for (j = 1; j <= length_of["systems of series " name]; j++) {
			who = member["systems of series " name, j]
			cells = "| " who " |"
			for (w = 1; w <= windows[name]; w++)
				cells = cells " " with_commas(median("series" SUBSEP name SUBSEP who SUBSEP w), 0) " |"
			print cells
		}
	}
}

END {
	if (length_of["cases"])
		rates()
	if (length_of["facts"])
		facts()
	series()
	printf "\n%s\n", missed ? missed " of the marks are missed." : "Every mark that was measured is met."
}
