"""Words by what they mean: the classes a scorer can learn from, so that one example of `jug` speaks for every vessel.

Nothing here decides anything. A word may stand in several classes; words are compared by stem.
"""

from functools import lru_cache

from orchestrator_site.demo.model_server.tokens import stem

CLASSES: dict[str, str] = {
    "goods": (
        "lamp lampshade bulb kettle toaster teapot pot pan wok mug cup saucer plate bowl dish glass glasses goblet tumbler jug carafe pitcher vase jar "
        "bottle flask thermos tray knife knives fork spoon cutlery ladle whisk grater peeler blender mixer grinder frother juicer oven microwave iron "
        "ironing hoover vacuum fan heater radiator radio speaker headphones earphones clock watch timer alarm scale scales charger cable adapter plug "
        "battery batteries torch lantern candle candlestick mirror frame picture poster print painting shelf shelves bookcase cupboard wardrobe drawer "
        "drawers cabinet chair armchair stool bench sofa couch table desk bed mattress pillow cushion duvet blanket throw quilt sheet sheets towel towels "
        "bathrobe rug carpet mat doormat curtain curtains blind blinds tablecloth napkin napkins apron basket box crate hamper bin bucket hook hanger "
        "hammer drill screwdriver saw spanner ladder umbrella bag backpack rucksack suitcase wallet purse belt hat cap scarf glove gloves sock socks "
        "shoe shoes boot boots slipper slippers sandal sandals trainers jumper sweater cardigan hoodie shirt tshirt blouse dress skirt trousers jeans "
        "shorts coat jacket pyjamas toy doll puzzle game book books notebook diary calendar pen pens pencil stapler card cards tent bike helmet pump "
        "hose lawnmower planter flowerpot wreath garland ornament statue figurine board opener corkscrew sieve colander tin cosy teaset set sets service "
        "stool parasol hammock barbecue grill necklace ring bracelet earring earrings soap honey tea chocolate chocolates jam thermometer device appliance "
        "gadget phone keyboard mouse printer camera tablet screen telescope guitar lighter easel dispenser rack stand holder case cover"
    ),
    "part": (
        "lid handle spout leg legs foot feet base screw screws bolt bolts nut nuts knob button switch zip zipper strap buckle seam seams stitching lining "
        "sleeve collar hem corner edge rim bottom top side back front hinge door lock key wire cord socket fuse motor blade wheel wheels hand hands dial glass cover "
        "manual instructions label packaging wrapping box carton seal paint varnish glue surface leather fabric cloth thread filter element bracket panel"
    ),
    "damage": (
        "break broke broken crack cracked chip chipped scratch scratched scuff scuffed dent dented smash smashed shatter shattered tear torn rip ripped "
        "split snap snapped bend bent bash bashed crush crushed squash squashed crumple crumpled warp warped twisted crooked wobble wobbly wobbles loose "
        "leak leaks leaking drip drips dripping spill spilled spilt stain stained dirty filthy grubby dusty mouldy mold mould moldy rot rotten stale sour smell "
        "smells stink stinks stinky rust rusty rusted corroded faded fade discoloured discolored bleached peel peeling flake flaking burn burnt burned scorched singed "
        "melt melted smoke smoking spark sparks sparking explode exploded faulty defective defect defects malfunction malfunctions dead kaput knackered busted bust bent wrecked "
        "ruined destroyed useless unusable rubbish shoddy flimsy dud lemon junk trash crap crappy jam jams jammed stuck stiff blunt frayed unravel unravelling unstuck undone "
        "rattle rattles squeak squeaks squeaky creak creaks buzz buzzes hum hums flicker flickers overheats trips leaky uneven lopsided slanted punctured hole holes pierced wet damp soaked soggy "
        "mark marks smudge smudged smear blotch tarnished worn used second-hand secondhand opened tampered expired shrunk shrank swollen bobbled pilling imperfect deformed blemish misshapen"
    ),
    "lacking": (
        "missing miss lacks lacking lack incomplete short absent without forgot forgotten omitted omit empty half-empty only instead wrong different incorrect swapped "
        "mixed mix-up mixup mistaken else's another's other someone's somebody's unlike rather partial fewer less none"
    ),
    "works": "work works working function functions functioning switch turn heat heats cool charge charges boil boils spin close shut open fit fits stand sit hold start starts light play plays stop stops stopped ticks run runs respond connect",
    "feeling": (
        "angry annoyed upset disappointed disappointing disappoint sad unhappy furious livid fuming frustrated unacceptable disgrace disgraceful disgusted disgusting shame shameful "
        "shocking appalled appalling terrible awful horrible dreadful worst pathetic ridiculous joke rude impolite unfriendly insulted insulting hurt offended ashamed let-down "
        "outrageous scandal scandalous complain complaint complaints grievance dissatisfied dissatisfaction unsatisfied unimpressed amused fed fobbed ignored quality poor bad inferior cheap substandard"
    ),
    "travel": (
        "arrive arrives arrived arriving arrival come comes coming reach reached deliver delivered delivery deliveries ship ships shipped shipping shipment dispatch dispatched despatch "
        "despatched send sent leave leaves left depart departed transit route underway track tracking tracked trace traced courier carrier driver postman postwoman mailman postie van lorry truck dhl ups fedex "
        "hermes dpd gls royal usps warehouse depot hub customs land lands landed turn turned show showed get gets appear appeared surface whereabouts location located locate lost stuck held vanished disappeared "
        "eta budged budge moved moving move progress chase chasing chased hunt wait waiting waited expect expected expecting overdue late delayed delay delays due hold-up holdup porch doorstep letterbox posted post handed misplaced dispatching slot attempted"
    ),
    "asking_where": "where wheres whereabouts eta when whens track tracking trace locate chase find",
    "time": (
        "today tomorrow yesterday tonight morning afternoon evening day days week weeks month months monday tuesday wednesday thursday friday saturday sunday weekend fortnight soon already yet still ages ago since "
        "until till before after by hour hours minute minutes christmas easter birthday late early january february march april may june july august september october november december"
    ),
    "contents": (
        "content contents item items article articles product products line lines list detail details particulars summary overview breakdown rundown specification quantity amount number many much total sum price "
        "prices cost costs costed charge charged postage shipping vat tax net gross discount voucher coupon code invoice bill receipt statement payment paid pay card paypal transfer status state colour color size "
        "model type version material name date placed confirmed bought ordered booked purchased reference owe figure balance instalment bank method open settled weigh weight dimensions measurements brand"
    ),
    "asking_what": "what whats which who whose how whether if does did was were is are has",
    "compare": (
        "compare comparing comparison compared difference differences differ differs different same identical alike similar versus vs v against both each than duplicate duplicates twin copy repeat repeats overlap "
        "match matches common cheaper cheapest dearer pricier costlier expensive more less fewer bigger larger smaller larger older newer earlier later sooner faster first latest between either side contrast "
        "better worse heavier lighter longest shortest equal equals vary varies distinguish apart alongside beside double twice"
    ),
    "refund": (
        "refund refunds refunded refunding reimburse reimbursed reimbursement repay repaid repayment money cash dough credit credited compensation compensate compensated chargeback reversal reverse reversed "
        "return returned returning goodwill rebate owed owe recoup recover recredit payback payout pay paid penny cent dosh wallet account card bank knock deduct deducted overcharged overcharge allowance"
    ),
    "cancel": (
        "cancel cancels cancelled canceled cancelling canceling cancellation canx cancle stop stopped halt abort annul annulled void voided withdraw withdrawn withdrawal revoke rescind scrap scrub bin ditch drop dropped kill "
        "delete deleted remove erase undo nix axe terminate abandon forget storno retract call-off unorder discontinue strike pull quash nullify cease remove away proceed process pack fulfil fulfill"
    ),
    "unwanted": "want need wanted needed needing require required wish interested afford bother longer anymore mind mistake accident accidentally twice decided elsewhere keep",
    "place": (
        "address addresses street road lane avenue house flat apartment apt unit floor door doorbell postcode zip postal town city village country county region office work workplace company home mum's mum mom mom's dad parents sister "
        "sister's brother brother's daughter's son's friend's friends neighbour neighbours neighbor neighbors aunt uncle grandma grandmother cousin hotel campsite school university locker pickup pick-up shop kiosk station "
        "post collection point branch shed garage porch concierge reception caretaker destination location elsewhere somewhere building staircase stairwell entrance c/o holiday hospital dorm residence premises"
    ),
    "redirect": (
        "redirect redirected reroute rerouted divert diverted forward forwarded send deliver delivered ship bring dropped drop leave left change changed update updated correct corrected amend amended alter fix moved moving move "
        "relocated relocating instead rather swap switch new wrong old misspelled misspelt typo edit replace goes going go"
    ),
    "letter": (
        "write writes wrote written writing letter letters email emails e-mail mail mails message messages note notes line draft compose composed reply replies answer answered respond response text sms notify inform informed "
        "tell told let ask contact remind reminder apologise apologize apology thank thanks thank-you explain explaining explanation confirm confirmation confirming statement ltr msg correspondence assure advise invite congratulate "
        "touch word words reach drop"
    ),
    "person": (
        "customer customers client clients buyer buyers purchaser lady gentleman man woman guy bloke chap person caller mr mrs ms miss sir madam him her them she he they recipient whoever owner cust shopper "
        "husband wife son daughter mother father friend folks"
    ),
    "vague": (
        "problem problems issue issues help assistance assist sort sorted handle deal matter something anything thing things trouble care question query concern concerning regarding about situation fix resolve settle "
        "usual same again needful whatever case call callback phone ring speak talk look check discussed agreed arranged promised follow update change handled attention"
    ),
    "greeting": "hi hello hey hiya good morning afternoon evening dear greetings yo thanks cheers regards",
    "foreign": (
        "weather rain poem song joke novel essay homework python javascript code sql landlord tenant sue lawyer lawsuit court tax taxes visa passport election president minister politics football soccer match cricket tennis "
        "movie film netflix spotify youtube series recipe cook bake boil restaurant flight flights airline airport train bus taxi ticket tickets concert museum doctor medicine fever headache pill diet gym horoscope bitcoin crypto stocks shares "
        "invest mortgage loan salary cv resume interview job jobs vacancy vacancies internship apprenticeship hiring hire career apply application student translate translation spanish french german japanese latin grammar capital planet moon "
        "history war king queen math equation algebra calculate square root divided multiplied plus minus physics chemistry biology amazon ebay zalando ikea walmart etsy aliexpress temu shein apple google microsoft facebook instagram "
        "whatsapp tesla vodafone telekom ryanair easyjet lufthansa uber airbnb booking dog cat puppy car engine bicycle password wifi router laptop windows excel powerpoint internet electricity gas water plumber electrician population "
        "mountain river ocean sonnet haiku limerick story chess sudoku crossword dentist pharmacy library school university exam teacher girlfriend boyfriend marriage divorce god religion philosophy prime fibonacci donate donation donations charity sponsor "
        "sponsoring sponsorship advertise advertising advertisement seo marketing agency partnership cooperation collaborate supplier wholesale influencer magazine newspaper journalist interview survey vote gmail neighbour's rights legal illegal law police insurance "
        "calories oil wine stain hotel room table pizza book recommend president yen convert exchange temperature degrees subscription membership church club team league tournament festival theatre cinema holiday vacation beach tan sleep asos argos tesco lidl aldi nike adidas decathlon vinted bosch samsung sony mediamarkt verizon comcast broadband provider gumtree deliveroo stamps robot debug thesis survey podcast raffle ceo battle council stadium lottery parking pension embassy"
    ),
    "not": "not no never none nothing nobody cannot without neither nor",
    "all": "all full fully whole complete completely everything entire entirely entirety total every",
    "some": "half part partial partly percent third quarter some just only one difference",
    "join": "also too plus then and second secondly first separately while both besides additionally well moreover furthermore afterwards",
}


@lru_cache(maxsize=1)
def _by_stem() -> dict[str, tuple[str, ...]]:
    found: dict[str, list[str]] = {}
    for name, words in CLASSES.items():
        for word in words.split():
            classes = found.setdefault(stem(word.replace("'s", "")), [])
            if name not in classes:
                classes.append(name)
    return {word: tuple(classes) for word, classes in found.items()}


def classes_of(word_stem: str) -> tuple[str, ...]:
    return _by_stem().get(word_stem, ())
