-- Feed calls back into `usage`: the view `price` prices them by the list in force, and their new version replaces them.
INSERT INTO $database.usage
$again
