package randmodel

// trainingText is what the tokenizer's merges are learned from: words that captions use, the common ones more often.
const trainingText = `
a a a a a a a a the the the the the the of of of of on on on on in in in in with with with and and and and
is is at at to to by by for from this that an an are it its their two three some one near under over
a photo of a dog a photo of a cat a photo of the dog a photo of the cat a picture of a horse a picture of a bird
a man is standing on the street a woman is sitting on a bench the child is running in the park
two dogs are playing with a ball in the green grass three people are walking along the beach at sunset
a red car is parked in front of the white house a blue bicycle is leaning against the brick wall
the black cat is sleeping on the wooden chair next to the window a brown horse is standing in the field
a large white airplane is flying over the mountains a small boat is floating on the quiet lake
a plate of food with bread and cheese and fruit on the kitchen table a cup of coffee and a slice of cake
a young girl wearing a yellow dress is holding an umbrella in the rain an old man with a hat is reading a newspaper
make the background dark as if the camera has taken the photo at night make the shirt longer and remove the buttons
change the colour of the dress from red to green and add a pattern of flowers with short sleeves
the same building but from another angle and in winter with snow on the roof and no people in front
show the animal lying down instead of standing and add another one beside it facing the other way
find an image that looks like this one but with more light and fewer objects in the background
the lighting is brighter and the image is taken from a closer distance with the mountain in the distance
a group of people sitting around a table eating dinner together in a restaurant with candles burning
a train is moving along the railway through the forest in autumn leaves are falling from the trees
city skyline with tall buildings and bridges across the river at night street lamps shining in the water
a computer keyboard and a mouse on the desk beside an open book and a glass of water
a baseball player swinging a bat a tennis player hitting the ball a skier going down a snowy slope
a surfer riding a wave in the ocean a skateboarder jumping down the stairs a football match in a stadium
an elephant walking through the tall grass a giraffe eating leaves from a tree a bear standing in the river
a bowl of oranges and bananas a vase with roses a teddy bear on the bed a clock on the tower of the church
a motorcycle parked on the side of the road a bus driving down a busy street a truck loaded with wood
photograph image picture painting drawing portrait landscape outdoor indoor interior exterior colourful
bright darker lighter longer shorter larger smaller taller wider happier older younger newer cleaner
wearing holding standing sitting walking running playing looking smiling sleeping eating drinking reading writing
morning evening night winter summer spring autumn weather cloudy sunny rainy windy foggy storm
red orange yellow green blue purple pink brown black white grey silver golden striped plain spotted
shirt trousers jacket coat dress skirt shoes boots gloves scarf glasses bag backpack watch necklace
kitchen bathroom bedroom garden balcony office school hospital station airport market museum library theatre
north south east west left right above below behind between across around through against without inside outside
`
