-- Feed calls back into `usage`: the view `price` prices them again, and their new version replaces them.
INSERT INTO $database.usage
$again
