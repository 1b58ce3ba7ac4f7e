SELECT * FROM $database.corrections_made WHERE correction = {correction:String}
